# SPDX-License-Identifier: MIT
# JSON for mot-tokenize: documents as segments, and a line for split.awk.

# s as a JSON string.  Control characters but newline are of no use in our texts.
function quoted(s) {
    gsub(/[\001-\011\013-\037\177]+/, " ", s)
    gsub(/\\/, "&&", s)
    gsub(/"/, "\\\\&", s)
    gsub(/\n/, "\\\\n", s)
    return "\"" s "\""
}

function segment(kind, value) {
    return "{" quoted(kind) ":" quoted(value) "}"
}

# keys: what the document shares with others, divided by US; segments: divided by commas.
function document(keys, kind, segments) {
    gsub(/[\t\n]/, " ", keys)
    print keys "\t" kind "\t{\"segments\":[" segments "]}"
}

# Two segments in both orders, half of the documents each: a picture is to be described and to be made.
function pair(keys, kind, a, b) {
    document(keys, kind, n_pairs[kind]++ % 2 ? b "," a : a "," b)
}

function trimmed(s) {
    gsub(/[ \t\r\n]+$|^[ \t\r\n]+/, "", s)
    return s
}
