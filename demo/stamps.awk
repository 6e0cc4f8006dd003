# SPDX-License-Identifier: MIT
# Stamps: X.txt holds the caption, first in English, then LANGUAGE.utf8=...; beside it X.png and X_desc_LANGUAGE.ogg.
# Reads the digests of pictures and sounds, then every X.txt.

BEGIN { n_spoken = split(spoken, language, " ") }

FILENAME ~ /stamps\.sums$/ {
    digest[substr($0, 35)] = substr($0, 1, 32)
    next
}

FNR == 1 {
    finish()
    stem = substr(FILENAME, 1, length(FILENAME) - 4)
    caption["en"] = trimmed($0)
    next
}

/^[a-z]+\.utf8=/ { caption[substr($0, 1, index($0, ".") - 1)] = trimmed(substr($0, index($0, "=") + 1)) }

END { finish() }

# The documents of the stamp just read.
function finish(    i, l, keys, path, clip) {
    if (stem != "" && caption["en"] != "") {
        keys = "caption " tolower(caption["en"])
        for (i = 1; i <= n_spoken; i++) {
            l = language[i]
            if (caption[l] != "" && (spoken_file(l) in digest))
                keys = keys "\037clip " digest[spoken_file(l)] "\037caption " tolower(caption[l])
        }
        path = stem ".png"
        if (path in digest)
            pair(keys "\037picture " digest[path], "image", segment("image", prefix substr(path, 3)),
                 segment("text", caption["en"]))
        for (i = 1; i <= n_spoken; i++) {
            l = language[i]
            clip = spoken_file(l)
            if (caption[l] != "" && (clip in digest) && !(digest[clip] in used)) {
                used[digest[clip]] = 1
                pair(keys, "speech", segment("speech", prefix substr(clip, 3)), segment("text", caption[l]))
            }
        }
    }
    for (l in caption)
        delete caption[l]
}

function spoken_file(l) {
    return stem "_desc" (l == "en" ? "" : "_" l) ".ogg"
}
