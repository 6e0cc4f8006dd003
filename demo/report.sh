#!/bin/sh
# SPDX-License-Identifier: MIT
# report.sh OUT STEPS RATES: the demo's table, from the finished trainings on stdin: "ARCH LR SEED STEPS SCORED" lines, dense
# and mot of a seed in turn.
set -eu
out=$1 rates=$3
here=$(dirname "$0")

# Everything as one stream of facts, one a line, its kind first.
facts() {
    echo "rates $rates"
    for arch in dense mot; do
        mot-train -c "$here/net.json" -t "$out/tok" --arch "$arch" --dry-run | sed "s/^/size $arch /"
    done
    first='' dense=''
    while read -r arch lr seed steps _; do
        run=$out/runs/$arch-lr$lr-seed$seed-steps$steps
        echo "run $arch $lr $seed $steps"
        sed "1d; s/^[^	]*	/score $arch $seed /" "$run/score.tsv"
        tail -n 1 "$run/log.jsonl" | sed "s/.*\"flops\":\([^,]*\),\"seconds\":\([^,]*\),.*/cost $arch \1 \2/"
        if [ "$arch" = mot ]; then
            for loss in val train; do
                mot-profile match --loss $loss --format tsv "$dense/log.jsonl" "$run/log.jsonl" |
                    sed "1d; s/^[^	]*	/match $loss $seed /"
            done
        else
            [ -z "$dense" ] || mot-profile match --format tsv "$first/log.jsonl" "$run/log.jsonl" |
                sed "1d; s/^[^	]*	/chance $seed /"
            dense=$run first=${first:-$run}
        fi
    done
    sed 's/^/quality /' "$out/samples/quality.tsv"
    sed "1d; s/^[^	]*	/tokens /" "$out/samples/tokens.tsv"
    cmp -s "$out/samples/text-before.txt" "$out/samples/text-after.txt" && echo same
    true
}

facts | awk -v out="$out" -v steps="$2" -f "$here/report.awk"
