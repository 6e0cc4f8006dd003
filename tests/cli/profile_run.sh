# mot-profile run: the sums of its rows, all combinations, formats, timelines, remembered ceilings, refusals.
. "$T/cli.sh"
run() { mot-profile run --ceiling 1e11,1e10 --batch 2 --seq 32 --steps 2 --warmup 1 "$@"; }

# What was counted is what `flops` says, to the last digit; the rows add up to the step.
run -c nano --format tsv --by op,direction,layer,tower > rows
mot-profile flops -c nano --batch 2 --seq 32 --format tsv > flops
equal "$(awk -F '\t' '$8 == "(step)" { printf "%.0f", $17 }' rows)" \
    "$(awk '$1 == "train_flops_per_step" { printf "%.0f", $2 }' flops)"
awk -F '\t' 'NR == 1 { next } $8 == "(step)" { flops = $17; seconds = $13; next } { f += $17; s += $13 }
    END { exit !(f == flops && (s - seconds) ^ 2 < 1e-14 && NR > 100) }' rows || wrong "the rows do not add up to the step"
# Collapsed, the same in fewer rows.
run -c nano --format tsv --by op > few
awk -F '\t' 'NR > 1 && $8 != "(step)" { f += $17 } $8 == "(step)" { flops = $17 } END { exit !(f == flops && NR < 30) }' few ||
    wrong "collapsed rows do not add up"
# All combinations, repeated.
mot-profile run --ceiling 1e11,1e10 --seq 32 --steps 2 -c nano --arch dense,mot --batch 1,2 --threads 1,2 --repeat 3 --format jsonl > all
equal "$(wc -l < all | tr -d ' ')" 8
for key in '"arch":"dense"' '"arch":"mot"' '"threads":1,' '"threads":2,' '"batch":1,' '"batch":2,'; do
    equal "$(grep -c "$key" all)" 4
done
grep -q '"samples":\[[0-9.e-]*,[0-9.e-]*,[0-9.e-]*\]' all || wrong "no three samples"
run nano --forward --format json | tr -d '\n' | grep -q '^\[{.*"operations":\[.*\]}\]$' || wrong "no JSON array"
for format in table md; do
    run nano micro --format $format > out
    grep -q 'attn_qkv' out && grep -q 'micro.*tokens\|tokens/s' out || wrong "--format $format is not a table"
done
# A step takes the memory that was planned, to a tenth, where the model outweighs the program.
# (Sanitizers take memory of their own.)
if [ -w /proc/self/clear_refs ] && [ -z "${SAN:-}" ]; then
    mot-profile run mini --ceiling 1e11,1e10 --batch 8 --seq 512 --steps 1 --warmup 0 --format jsonl > out
    planned=$(sed 's/.*"planned_bytes":\([0-9]*\),.*/\1/' out) peak=$(sed 's/.*"peak_bytes":\([0-9]*\),.*/\1/' out)
    awk -v planned="$planned" -v peak="$peak" 'BEGIN { exit !(peak > 0.9 * planned && peak < 1.1 * planned) }' ||
        wrong "planned $planned bytes, took $peak"
fi
# A timeline, atomically.
run nano --trace t.json > out
head -c 20 t.json | grep -q displayTimeUnit || wrong "no timeline"
fails mot-profile run nano --ceiling 1e11,1e10 --batch 1 --seq 8 --steps 1 --trace no/such/folder/t.json
# Ceilings are remembered when asked for, under XDG_CACHE_HOME.
export XDG_CACHE_HOME="$PWD/cache"
mot-profile run nano --batch 1 --seq 8 --steps 1 --cache > out
equal "$(wc -l < cache/mot/ceilings.tsv | tr -d ' ')" 1
mot-profile run nano --batch 1 --seq 8 --steps 1 --cache > out
equal "$(wc -l < cache/mot/ceilings.tsv | tr -d ' ')" 1
# Refusals.
exits 2 mot-profile run
says 'no configuration'
exits 2 mot-profile run nano --by hour
says 'op, direction, layer or tower'
exits 2 mot-profile run nano --arch dense,mot --trace t.json
says 'one combination'
exits 2 mot-profile run nano --batch 1,,2
exits 2 mot-profile run nano --ceiling 3
fails mot-profile run nano --device abacus
says abacus
