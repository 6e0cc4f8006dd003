#!/bin/sh
# SPDX-License-Identifier: MIT
# convert.sh: mot-convert against cp on the same disk, each until its bytes are on the disk, in turn; medians in seconds.
#
#   B=bin [ROUNDS=5] [PRESET=chameleon-443m] tests/bench/convert.sh
#
#   copy     all tensors as they are            cp      cp and sync
#   towers   a second tower, twice the bytes    ratio   MB/s of mot-convert over those of cp: of a copy, 0.8 is the least
#   bf16     every value rounded
B=${B:-bin} ROUNDS=${ROUNDS:-5} PRESET=${PRESET:-chameleon-443m}
top=$(cd "$(dirname "$0")/../.." && pwd)
case $B in /*) ;; *) B=$top/$B ;; esac
scratch=$(mktemp -d "${TMPDIR:-/tmp}/mot-bench.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
cd "$scratch" || exit 1
cat "$top"/man/* > text.txt
"$B/mot-tokenize" -q --learn text=300 -t tok text.txt || exit 1
"$B/mot-train" -q -c "$PRESET" --arch dense -t tok -o dense --steps 0 || exit 1

seconds() { # NAME COMMAND...: adds a line "NAME SECONDS MB" to times
    name=$1
    shift
    rm -rf out
    sync
    begin=$(date +%s%N)
    "$@" || exit 1
    end=$(date +%s%N)
    echo "$name $(((end - begin) / 1000000)) $(($(wc -c < out/model.safetensors) / 1000000))" >> times
}
with_cp() {
    mkdir out && cp dense/model.safetensors out && sync out/model.safetensors
}
for _ in $(seq "$ROUNDS"); do
    seconds cp with_cp
    seconds copy "$B/mot-convert" -q dense out
    seconds towers "$B/mot-convert" -q --to mot --add-vocab image=1024 dense out
    seconds bf16 "$B/mot-convert" -q --dtype bf16 dense out
done
printf 'what\tMB\tseconds\tratio\n'
for name in cp copy towers bf16; do
    grep "^$name " times | sort -n -k 2 | awk -v OFS='\t' '{ s[NR] = $2 / 1000; mb = $3 } END { print $1, mb, s[int((NR + 1) / 2)] }'
done | awk -v OFS='\t' '{ rate = $2 / $3; if (NR == 1) cp = rate; printf "%s\t%d\t%.3f\t%.2f\n", $1, $2, $3, rate / cp }'
