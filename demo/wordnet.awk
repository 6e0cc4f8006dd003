# SPDX-License-Identifier: MIT
# WordNet: "OFFSET FILE TYPE COUNT(hex) WORD ID WORD ID ... | gloss".  Every 30th entry: "word, word: gloss".

/^[0-9]/ && ++n % 30 == 0 {
    words = ""
    for (i = 5; $i !~ /^[0-9][0-9][0-9]$/; i += 2)
        words = words (words == "" ? "" : ", ") $i
    gsub(/_/, " ", words)
    gsub(/\((a|p|ip)\)/, "", words)
    gloss = trimmed(substr($0, index($0, " | ") + 3))
    document("text " gloss, "text", segment("text", words ": " gloss))
}
