#!/bin/sh
# SPDX-License-Identifier: MIT
#
# demo.sh: the whole way on real data: documents, tokenizers, shards, a dense model and a Mixture-of-Transformers of equal
# FLOPs per token trained, scored and matched step by step, a table and a picture.  `make demo` builds the programs before.
#
#   STEPS=6000 demo/demo.sh      longer trainings (3000)
#
# Every stage leaves a file or folder that appears when it is whole, and is skipped when that is there: after an
# interruption the demo goes on, after the end it prints the table again.  `rm -r demo/out` starts over.
#
# Learning rates are chosen on dev, which is neither trained nor reported on; val is only reported on.
set -eu

cd "$(dirname "$0")/.."
out=demo/out # relative, and so free of whatever stands in the path to the repository
steps=${STEPS:-3000}
sweep_steps=$((steps / 5))
rates='.0025 .005 .01'
seeds='1 2'
cores=$(nproc)
begun=${BEGUN:-$(date +%s)}
PATH=$PWD/bin:$PATH

say() {
    now=$(($(date +%s) - begun))
    printf '[%2d:%02d] %s\n' $((now / 60)) $((now % 60)) "$*" >&2
}

die() {
    echo "demo: $*" >&2
    exit 1
}

watcher=
stop_watching() {
    [ -z "$watcher" ] || kill "$watcher" 2>/dev/null || :
    watcher=
}
interrupted() {
    stop_watching
    echo 'demo: interrupted; the same command goes on from here' >&2
    trap - INT
    kill -INT $$
}
trap stop_watching EXIT
trap interrupted INT
trap 'exit 143' TERM

# stage RESULT WORDS COMMAND...: run COMMAND unless its RESULT is there.
stage() {
    result=$1 words=$2
    shift 2
    [ ! -e "$result" ] || return 0
    say "$words"
    "$@" 2>"$out/log" || die "$words: $(grep . "$out/log" | tail -n 1)"
}

# ---- tokenizers and shards ----

# One file a core, then one shard: shards are streams, so cat joins them.
shard() {
    [ ! -e "$out/$1.mot" ] || return 0
    say "writing $1.mot"
    rm -f "$out/data/$1".part-*
    split -n "r/$cores" "$out/data/$1.jsonl" "$out/data/$1.part-"
    find "$out/data" -name "$1.part-*" ! -name '*.mot' | sort | tr '\n' '\0' | xargs -0 -P "$cores" -I '{}' \
        mot-tokenize --strict -q -t "$out/tok" -f jsonl -o '{}.mot' '{}' 2>"$out/log" ||
        die "writing $1.mot: $(head -n 1 "$out/log")"
    cat "$out/data/$1".part-*.mot >"$out/$1.part"
    rm -f "$out/data/$1".part-*
    mv "$out/$1.part" "$out/$1.mot"
}

# ---- training ----

name() { echo "$1-lr$2-seed$3-steps$4"; }

# trainings WORDS LIST: those of LIST's "ARCH LR SEED STEPS SCORED" lines that are not finished, as many at a time as
# there are cores, one thread each: so small a net gains little from more.
trainings() {
    todo=$(echo "$2" | while read -r arch lr seed n scored; do
        [ -e "$out/runs/$(name "$arch" "$lr" "$seed" "$n")/score.tsv" ] || echo "$arch $lr $seed $n $scored"
    done)
    [ -n "$todo" ] || return 0
    say "$1"
    demo/progress.sh "$out/runs" "$todo" &
    watcher=$!
    echo "$todo" | xargs -P "$cores" -L 1 demo/train.sh "$out" || exit 1
    stop_watching
}

sweep() {
    for lr in $rates; do
        for arch in dense mot; do
            echo "$arch $lr 0 $sweep_steps dev"
        done
    done
}

# best ARCH: the rate with the lowest loss on dev.
best() {
    for lr in $rates; do
        awk -v lr="$lr" '$2 == "all" { print $4, lr }' "$out/runs/$(name "$1" "$lr" 0 "$sweep_steps")/score.tsv"
    done | sort -g | awk 'NR == 1 { print $2 }'
}

finals() {
    for seed in $seeds; do
        for arch in dense mot; do
            echo "$arch $(best "$arch") $seed $steps val"
        done
    done
}

# ---- the way ----

mkdir -p "$out/runs" 2>/dev/null || die "$PWD/$out: cannot be written to"
demo/data.sh "$PWD/$out" # `make demo` has done so already
stage "$out/tok/vocab.json" 'learning tokenizers: 1024 ids of text, 512 of pictures, 256 of speech' \
    mot-tokenize --learn text=1024,image=512,speech=256 --strict -t "$out/tok" "$out/data/learn.jsonl"
for part in train dev val; do
    shard $part
done
stage "$out/samples" 'a picture, a sentence and a sound to tokens and back' demo/samples.sh "$out"
trainings "choosing learning rates on dev: $rates, $sweep_steps steps each" "$(sweep)"
trainings "training dense and MoT: seeds $seeds, $steps steps each" "$(finals)"
stage "$out/match.png" 'matching steps' demo/picture.sh "$out" "$(finals)"
finals | demo/report.sh "$out" "$steps" "$rates" >"$out/table.part"
mv "$out/table.part" "$out/table.txt"
cat "$out/table.txt"
