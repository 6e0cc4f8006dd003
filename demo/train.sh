#!/bin/sh
# SPDX-License-Identifier: MIT
#
# train.sh OUT ARCH LR SEED STEPS SCORED: train one model and score it on OUT/SCORED.mot; leaves OUT/runs/NAME with the
# model, log.jsonl and score.tsv.  A run that was stopped goes on where it was last saved; a finished one is left alone.
#
# All that matters for the comparison stands here, once: data, order (seed), batch, sequence, schedule, clipping and net are
# those of both architectures; only --arch and --lr differ.  The rate is constant after warm-up, so that every step of one
# run can be compared with every step of the other: a rate that falls would reward whoever is near the end.
set -eu

out=$1 arch=$2 lr=$3 seed=$4 steps=$5 scored=$6
name=$arch-lr$lr-seed$seed-steps$steps
run=$out/runs/$name
bin=$(cd "$(dirname "$0")/../bin" && pwd)

[ -f "$run/score.tsv" ] && exit 0
mkdir -p "$out/runs"
{
    if [ "$scored" = val ]; then # the curve on validation data, for the steps to a loss
        set -- --val "$out/val.mot" --val-every $((steps / 20))
    else
        set --
    fi
    "$bin/mot-train" --resume -c "$(dirname "$0")/net.json" -t "$out/tok" -o "$run" --arch "$arch" --lr "$lr" --seed "$seed" \
        --steps "$steps" --batch 16 --seq 256 --warmup 50 --schedule constant --save-every 500 --threads 1 \
        "$@" "$out/train.mot" >/dev/null &&
        "$bin/mot-eval" --threads 1 --context 256 "$run" "$out/$scored.mot" >"$run/score.part" &&
        mv "$run/score.part" "$run/score.tsv"
} 2>"$out/runs/$name.err" || {
    echo "demo: $name: $(tail -n 1 "$out/runs/$name.err")" >&2
    exit 255 # xargs starts no more
}
