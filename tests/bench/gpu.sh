#!/bin/sh
# SPDX-License-Identifier: MIT
# gpu.sh: whole training steps on a GPU as ratios, each with what is wanted; tests/gpu.sh calls it.
#
#   B=bin PYTHON=python3 tests/bench/gpu.sh
#   B=bin DEVICE=cpu CONFIGS=nano BATCH=2 SEQ=64 ROWS=64 tests/bench/gpu.sh     a rehearsal of the script
#
#   ceiling   share of the measured rate of large matrix products that a step's exact FLOPs reach
#   MoT       time of a step with a tower a modality over the dense one's, tokens in equal shares
#   rows      time of a short step with a product a tower over that with one launch for all (MOT_CUDA_GROUPED, mot(7))
#   attention the rate of each of the kernels for it, forward and backward, as MOT_CUDA names them; a rehearsal leaves it out
#   PyTorch   how many times as many tokens a second as this machine's, compiled, with its fused attention, bf16: with the MoT
#             authors' masks, and with tokens sorted
B=${B:-bin} DEVICE=${DEVICE:-cuda} PYTHON=${PYTHON:-python3} BATCH=${BATCH:-4} SEQ=${SEQ:-4096} STEPS=${STEPS:-5}
ROWS=${ROWS:-128 512 1024 2048}
CONFIGS=${CONFIGS:-chameleon-443m chameleon-1.5b chameleon-speech-443m chameleon-speech-1.5b}
cd "$(dirname "$0")/../.." || exit 1
out=$(mktemp -d) || exit 1
trap 'rm -rf "$out"' EXIT
trap 'exit 130' INT TERM
dtype=bf16
[ "$DEVICE" = cpu ] && dtype=f32
missed=0

row() { # WHAT VALUE WANTED BETTER(1: more, -1: less)
    verdict=$(awk -v x="$2" -v w="$3" -v s="$4" 'BEGIN { print (s * x >= s * w ? "yes" : "no") }')
    [ "$verdict" = yes ] || missed=$((missed + 1))
    printf '%-46s %8.3f   wanted %s %-5s %s\n' "$1" "$2" "$([ "$4" = 1 ] && echo '>=' || echo '<=')" "$3" "$verdict"
}

of() { # KEY ARCH FILE: of the line with that architecture
    sed -n "/\"arch\":\"$2\"/s/.*\"$1\":\\([-0-9.e+]*\\).*/\\1/p" "$3" | head -n 1
}

# A step dense and as MoT in one process; where memory is short, with fewer sequences and less kept.
measure() { # CONFIG
    for how in "$BATCH none" "$((BATCH > 1 ? BATCH / 2 : 1)) light" '1 block'; do
        if "$B/mot-profile" run -c "$1" --arch dense,mot --device "$DEVICE" --dtype $dtype --batch "${how% *}" --recompute "${how#* }" \
            --seq "$SEQ" --steps "$STEPS" --cache --by op --format jsonl > "$out/$1" 2> "$out/err"; then
            batch=${how% *} kept=${how#* }
            echo "$batch" > "$out/$1.batch"
            return 0
        fi
        grep -q 'memory is short' "$out/err" || break
    done
    tail -n 1 "$out/err"
    return 1
}

# A short step with a product of the library's for each tower, and with one launch for all: which rows suit which.
few_rows() { # CONFIG ROWS
    for most in 0 1000000; do
        MOT_CUDA_GROUPED=$most "$B/mot-profile" run -c "$1" --arch mot --device "$DEVICE" --dtype $dtype --batch 1 --seq "$2" \
            --steps "$STEPS" --cache --format jsonl > "$out/few$most" 2> "$out/err" || { tail -n 1 "$out/err"; return; }
    done
    printf '%-46s %8.3f\n' "$1, $2 rows: by towers over one launch" "$(awk -v a="$(of seconds_median mot "$out/few0")" \
        -v b="$(of seconds_median mot "$out/few1000000")" 'BEGIN { print a / b }')"
}

peer() { # CONFIG: PyTorch's seconds a step
    for how in mask sorted; do
        wanted=$([ $how = mask ] && echo 1.5 || echo 1.15)
        if seconds=$("$PYTHON" tests/bench/peer.py --cuda "$(shape "$1")" --batch "$(cat "$out/$1.batch")" --seq "$SEQ" --routing $how 2> "$out/err"); then
            row "$1 against PyTorch, $how" "$(awk -v a="$seconds" -v b="$(of seconds_median mot "$out/$1")" 'BEGIN { print a / b }')" \
                "$wanted" 1
        else
            echo "$1 against PyTorch, $how: skipped, $(tail -n 1 "$out/err")"
        fi
    done
}

# FLOPs of the pairs that see each other, a backward pass as two forward ones.
attention() { # CONFIG
    for set in sm_80 sm_90; do
        if ! MOT_CUDA=$set "$B/mot-profile" run -c "$1" --arch dense --device "$DEVICE" --dtype $dtype --batch "$batch" --recompute "$kept" \
            --seq "$SEQ" --steps "$STEPS" --cache --by op,direction --format jsonl > "$out/attention" 2> "$out/err"; then
            echo "$1 attention, $set: skipped, $(tail -n 1 "$out/err")"
            continue
        fi
        for way in forward backward; do
            printf '%-46s %8.1f   TFLOP/s\n' "$1 attention $way, $set" "$(tr '{' '\n' < "$out/attention" |
                sed -n "/\"op\":\"attention\",\"direction\":\"$way\"/s/.*\"flops_per_second\":\([-0-9.e+]*\).*/\1/p" |
                awk '{ print $1 / 1e12 }')"
        done
    done
}

# "width,ffn,layers,heads,vocab,modalities" of a preset
shape() { # CONFIG
    "$B/mot-train" --presets | awk -F '\t' -v name="$1" '
        NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i }
        $1 == name { print $at["hidden"] "," $at["ffn"] "," $at["layers"] "," $at["heads"] ",65536," split($at["modalities"], m, ",") }'
}

for config in $CONFIGS; do
    if ! measure "$config"; then
        echo "$config: skipped"
        continue
    fi
    echo "$config: $batch sequences of $SEQ, recomputation $kept; $(sed -n '1s/.*"gpu":\("[^"]*"\|null\).*/\1/p' "$out/$config")," \
        "ceiling $(of gemm_ceiling mot "$out/$config") FLOP/s"
    wanted=0.5
    case $config in *1.5b) wanted=0.6 ;; esac
    for arch in dense mot; do
        row "$config $arch: share of the ceiling" "$(of gemm_ceiling_share $arch "$out/$config")" $wanted 1
    done
    row "$config: MoT over dense" "$(awk -v a="$(of seconds_median mot "$out/$config")" \
        -v b="$(of seconds_median dense "$out/$config")" 'BEGIN { print a / b }')" 1.03 -1
    [ "$DEVICE" = cpu ] && continue
    case $config in *speech*) ;; *) attention "$config" ;; esac
done
first=${CONFIGS%% *}
for rows in $ROWS; do
    few_rows "$first" $rows
done
# PyTorch compiles for a minute each: after all of ours, so that what there is no time for is this.
if [ "$DEVICE" = cpu ]; then
    :
elif ! "$PYTHON" -c 'import torch; assert torch.cuda.is_available()' 2> "$out/err"; then
    echo "against PyTorch: skipped, $PYTHON has no torch that sees a GPU"
else
    for config in $CONFIGS; do
        [ ! -f "$out/$config.batch" ] || peer "$config"
    done
fi
echo "$missed of these are not as wanted"
