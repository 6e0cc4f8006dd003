#!/bin/sh
# SPDX-License-Identifier: MIT
# progress.sh RUNS TODO: how far the trainings in TODO ("ARCH LR SEED STEPS ..." lines) are, until killed: on a terminal in
# place, else a line every half minute.
runs=$1 todo=$2 begun=$(date +%s) shown=0
while sleep 2; do
    now=$(($(date +%s) - begun))
    [ -t 2 ] || [ $((now - shown)) -ge 30 ] || continue
    shown=$now
    echo "$todo" | while read -r arch lr seed steps _; do
        step=$(tail -n 1 "$runs/$arch-lr$lr-seed$seed-steps$steps/log.jsonl" 2>/dev/null | sed 's/.*"step":\([0-9]*\).*/\1/')
        echo "$steps ${step:-0}"
    done | awk -v seconds="$now" -v end="$([ -t 2 ] && printf '\r' || printf '\n')" '
        { all += $1; done += $2 }
        END { printf "        %d %% of %d steps in %d:%02d %s", 100 * done / all, all, seconds / 60, seconds % 60, end }' >&2
done
