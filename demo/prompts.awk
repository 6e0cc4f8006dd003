# SPDX-License-Identifier: MIT
# Prompts: lines "NAME: transcript"; NAME.wav beside.  [..] stands for what is no speech.
# A prompt's name is the same in all languages, and so is its side.

FILENAME ~ /prompts\.sums$/ {
    digest[substr($0, 37)] = substr($0, 1, 32)
    next
}

/^[^;].*: / {
    name = substr($0, 1, index($0, ":") - 1)
    text = trimmed(substr($0, index($0, ":") + 1))
    clip = name ".wav"
    if (text != "" && text !~ /[][]/ && (clip in digest) && !(digest[clip] in used)) {
        used[digest[clip]] = 1
        pair("prompt " name "\037clip " digest[clip] "\037caption " tolower(text), "speech",
             segment("speech", prefix clip), segment("text", text))
    }
}
