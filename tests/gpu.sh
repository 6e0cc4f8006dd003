#!/bin/sh
# gpu.sh: everything that only a GPU can show, in one call of at most 8 minutes; a short table comes last.
#
#   tests/gpu.sh                where the CPU side's libraries are missing, from the folder that `make gpu-bundle` filled
#   DEVICE=cpu tests/gpu.sh     a rehearsal of the script, without a GPU
#
# Builds with nvcc; every kernel against the reference and whole steps against the CPU; both again under compute-sanitizer;
# 200 steps of training on the CPU, on the GPU in f32, and in bf16 twice, whose files must be the same; what a step takes.
cd "$(dirname "$0")/.." || exit 1
DEVICE=${DEVICE:-cuda} B=${B:-bin/gpu} BUNDLE=${BUNDLE:-bin/gpu-bundle}
begun=$(date +%s) failures=0
out=$(mktemp -d) || exit 1
trap 'rm -rf "$out"' EXIT
trap 'exit 130' INT TERM
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$(nproc)}"

# shellcheck disable=SC1090,SC1091
[ -f "$BUNDLE/env" ] && . "$BUNDLE/env"

row() { # NAME RESULT REMARK
    printf '%-34s %-8s %s\n' "$1" "$2" "$3" >> "$out/table"
}

try() { # NAME SECONDS COMMAND...: within what is left of 8 minutes
    name=$1 limit=$2
    shift 2
    left=$((470 - $(date +%s) + begun))
    [ "$left" -lt "$limit" ] && limit=$left
    [ "$limit" -lt 1 ] && limit=1
    from=$(date +%s)
    if timeout "$limit" "$@" > "$out/log" 2>&1; then
        result=ok
    else
        result=FAILED failures=$((failures + 1))
        tail -n 30 "$out/log"
    fi
    row "$name" $result "$(($(date +%s) - from)) s"
}

# The mean of the last 50 losses of a run.
loss() {
    sed -n 's/.*"loss":\([0-9.e+-]*\).*/\1/p' "$out/$1/log.jsonl" | tail -n 50 | awk '{ s += $1; n++ } END { print n ? s / n : "none" }'
}

within() { # NAME A B RELATIVE
    if awk -v a="$2" -v b="$3" -v r="$4" 'BEGIN { d = a - b; exit !(a > 0 && b > 0 && (d < 0 ? -d : d) <= r * b) }'; then
        row "$1" ok "$2, expected $3"
    else
        row "$1" FAILED "$2, expected $3"
        failures=$((failures + 1))
    fi
}

train() { # RUN DEVICE DTYPE
    try "train $1: $2, $3" 60 "$B/mot-train" -q -c nano -t "$out/tok" -o "$out/$1" --device "$2" --dtype "$3" --steps 200 \
        --batch 8 --seq 128 --shuffle 0 "$out/text.mot"
}

command -v nvidia-smi > /dev/null && nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm --format=csv
try 'build' 240 make -j"$(nproc)" B="$B" CUDA=1 all gpu-tests
if [ "$DEVICE" = cuda ]; then
    for part in kernels attention_kernels product_kernels; do
        try "$part against the reference" 60 "$B/gpu_$part" cuda
        grep '^FAILED\|^skip' "$out/log"
    done
    try 'encoders against the reference' 60 "$B/gpu_encoder_kernels"
    grep '^FAILED\|^skip' "$out/log"
    try 'steps against the CPU' 60 "$B/gpu_cuda"
    grep '^FAILED\|^skip' "$out/log"
    try 'recomputation, to the last bit' 60 "$B/gpu_recompute"
    try 'sequences that grow' 60 "$B/gpu_generate"
    try 'codecs that are nets' 60 "$B/gpu_nets"
    if command -v compute-sanitizer > /dev/null; then
        try 'memcheck of whole steps' 90 compute-sanitizer --tool memcheck --error-exitcode 9 "$B/gpu_cuda"
        try 'racecheck of whole steps' 90 compute-sanitizer --tool racecheck --error-exitcode 9 "$B/gpu_cuda"
    else
        row 'memcheck, racecheck' skipped 'no compute-sanitizer here'
    fi
fi
cat README.md man/* lib/*/*.c > "$out/text.txt"
try 'learn a tokenizer' 60 "$B/mot-tokenize" -q --learn text=1024 -t "$out/tok" "$out/text.txt"
try 'tokenize' 60 "$B/mot-tokenize" -q -t "$out/tok" -o "$out/text.mot" "$out/text.txt"
train cpu cpu f32
train f32 "$DEVICE" f32
bf16=bf16
[ "$DEVICE" = cpu ] && bf16=f32 # the processor may not have it
train bf16 "$DEVICE" $bf16
train again "$DEVICE" $bf16
within 'loss, f32' "$(loss f32)" "$(loss cpu)" 1e-3
within 'loss, bf16' "$(loss bf16)" "$(loss cpu)" 1e-2
try 'the same file twice' 10 cmp "$out/bf16/model.safetensors" "$out/again/model.safetensors"
if [ "$DEVICE" = cuda ]; then
    export XDG_CACHE_HOME="$out/cache"
    try 'where a step spends its time' 60 "$B/mot-profile" run -c chameleon-443m --arch mot --device cuda --dtype bf16 --batch 4 \
        --seq 4096 --cache
    cat "$out/log"
    try 'speed, as ratios' 240 env B="$B" tests/bench/gpu.sh
    cat "$out/log"
fi
echo
cat "$out/table"
echo "$(($(date +%s) - begun)) s, $failures failed"
[ $failures -eq 0 ]
