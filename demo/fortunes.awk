# SPDX-License-Identifier: MIT
# Fortunes: texts divided by lines of a single %; every third of them.

$0 == "%" { finish(); next }
{ text = text $0 "\n" }
END { finish() }

function finish() {
    gsub(/.\010/, "", text) # overstruck
    text = trimmed(text)
    if (length(text) > 20 && length(text) < 2000 && ++n % 3 == 0)
        document("text " substr(text, 1, 100), "text", segment("text", text))
    text = ""
}
