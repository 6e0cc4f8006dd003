# SPDX-License-Identifier: MIT
# Emoji: index.json has an object each, one key a line.  Skin tones of one emoji share a key.

/^  "/ { keywords = ""; listing = 0 }
/^    "unicode":/ { file = value($0) }
/^    "name":/ { name = value($0) }
/^    "keywords": \[/ { listing = 1; next }
/^    \]/ { listing = 0 }
listing { keywords = keywords (keywords == "" ? "" : ", ") value("\"k\": " trimmed($0)) }
/^  }/ {
    group = name
    sub(/ tone ?[1-5].*/, "", group)
    pair("emoji " group, "image", segment("image", prefix file ".png"),
         segment("text", name (keywords == "" ? "" : ": " keywords)))
}

# The string after the colon.
function value(s) {
    s = substr(s, index(s, ": ") + 2)
    gsub(/^"|",?$/, "", s)
    return s
}
