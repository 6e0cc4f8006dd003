# SPDX-License-Identifier: MIT
# Writes documents to val.jsonl (8 of 100 groups), dev.jsonl (4), train.jsonl (the rest), and learn.jsonl, a part of train.
# Reads them twice.  Documents that share a key, directly or through others, are a group (union-find over keys), and
# a group is on one side, chosen by a hash of its first key.

BEGIN {
    FS = "\t"
    for (i = 1; i < 256; i++)
        code[sprintf("%c", i)] = i
}

NR == FNR { # first pass: join keys
    n = split($1, key, "\037")
    for (i = 1; i <= n; i++) {
        if (!(key[i] in parent))
            parent[key[i]] = key[i]
        join(key[1], key[i])
    }
    next
}

{
    split($1, key, "\037")
    side = hash(root(key[1])) % 100
    file = side < 8 ? "val" : side < 12 ? "dev" : "train"
    json = substr($0, length($1) + length($2) + 3)
    print json > (out file ".jsonl")
    # All texts, a third of the pictures and a sixth of the sounds are plenty to learn tokenizers from.
    if (file == "train" && ($2 == "text" || ++seen[$2] % ($2 == "image" ? 3 : 6) == 0))
        print json > (out "learn.jsonl")
}

function root(k) {
    while (parent[k] != k) {
        parent[k] = parent[parent[k]]
        k = parent[k]
    }
    return k
}

# The smaller name becomes the root, so that roots do not depend on the order of documents.
function join(a, b) {
    a = root(a)
    b = root(b)
    if (a < b)
        parent[b] = a
    else
        parent[a] = b
}

function hash(s,    i, h) {
    h = 7
    for (i = length(s); i; i--)
        h = (h * 257 + code[substr(s, i, 1)]) % 1000003
    return h
}
