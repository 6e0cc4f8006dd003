# SPDX-License-Identifier: MIT
# From val.jsonl, one document of three: the first stamp's picture, the first fortune of some length without escapes in
# its JSON, and the first clip of the stamps.

function keep(what, pattern) {
    if (!(what in found) && match($0, pattern))
        found[what] = substr($0, RSTART, RLENGTH)
}

/tuxpaint/ {
    keep("image", "{\"image\":\"[^\"]*\"}")
    keep("speech", "{\"speech\":\"[^\"]*_fr\\.ogg\"}")
}

!/"image"|"speech"/ && !/\\/ && length($0) > 150 { keep("text", "{\"text\":\"[^\"]*\"}") }

END { print "{\"segments\":[" found["image"] "," found["text"] "," found["speech"] "]}" }
