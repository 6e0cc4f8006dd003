# SPDX-License-Identifier: MIT
# How many steps MoT needs for a loss of dense's, from two logs of mot-train: DENSE.jsonl MOT.jsonl.
#
#   awk -v stem=val_loss -v window=3 -f match.awk DENSE.jsonl MOT.jsonl
#
# Losses are trailing means over `window` values (steps without the key are passed over).  For each of a quarter, half, three
# quarters and all of dense's steps: MODALITY STEP LOSS MOT_STEP RATIO, where MOT_STEP, between steps by straight lines, is
# the first at which MoT's mean is as low, or "-" with ratio "-" if it never is.

FNR == 1 { run++ }

{
    step = number("step")
    for (m = 1; m <= 3; m++)
        if ((loss = number(stem "_" modality(m))) != "")
            add(run, m, step, loss)
    last[run] = step
}

END {
    for (m = 1; m <= 3; m++)
        for (quarter = 1; quarter <= 4; quarter++)
            match_at(m, int(last[1] * quarter / 4))
}

function modality(m) { return m == 1 ? "text" : m == 2 ? "image" : "speech" }

# The number of a key, "" where there is none or null.
function number(key,    at, s) {
    key = "\"" key "\":"
    if (!(at = index($0, key)))
        return ""
    s = substr($0, at + length(key), 24)
    return s ~ /^-?[0-9]/ ? s + 0 : ""
}

# Value i of a run's modality, and the mean of the last `window`.
function add(run, m, step, loss,    i) {
    i = ++n[run, m]
    value[run, m, i] = loss
    sum[run, m] += loss - (i > window ? value[run, m, i - window] : 0)
    at_step[run, m, i] = step
    mean[run, m, i] = sum[run, m] / (i > window ? window : i)
}

function match_at(m, step,    i, want, found, part) {
    for (i = n[1, m]; i > 1 && at_step[1, m, i] > step; i--)
        ;
    want = mean[1, m, i]
    step = at_step[1, m, i]
    for (i = 1; i <= n[2, m] && mean[2, m, i] > want; i++)
        ;
    if (i > n[2, m]) {
        print modality(m), step, want, "-", "-"
        return
    }
    found = at_step[2, m, i]
    if (i > 1) {
        part = (mean[2, m, i - 1] - want) / (mean[2, m, i - 1] - mean[2, m, i])
        found = at_step[2, m, i - 1] + part * (found - at_step[2, m, i - 1])
    }
    print modality(m), step, want, found, found / step
}
