# mot-train: log and folder, resuming after kill -9 and SIGINT bit for bit, pipes, freezing, refusals, a full disk.
. "$T/cli.sh"
mot-tokenize -q --learn text=300,image=32,speech=16 -t tok --image-size 32 "$T/files/samples"
mot-tokenize -q -t tok -o a.mot "$T/files/samples"
plain() { sed 's/"seconds":[0-9.]*,//' "$1"; }
same_but_time() { # LOG LOG
    plain "$1" > 1.plain
    plain "$2" > 2.plain
    diff 1.plain 2.plain >&2
}
train() { mot-train -q -c nano -t tok --batch 2 --seq 48 --threads 2 "$@"; }

# The log: the same on stdout and in RUN, one line a step, with what design promises.
train -o whole --steps 30 --val a.mot --val-every 10 --save-every 7 a.mot > out.jsonl
same out.jsonl whole/log.jsonl
equal "$(tr -d ' \n' < whole/generation_config.json)" '{"bos_token_id":0,"eos_token_id":1}' # for transformers
equal "$(wc -l < out.jsonl | tr -d ' ')" 30
equal "$(grep -c '"val_loss":.*"val_loss_text":.*"val_loss_image":.*"val_loss_speech":' out.jsonl)" 3
for key in step tokens flops seconds lr grad_norm loss loss_text loss_image loss_speech grad_norm_image grad_norm_shared; do
    equal "$(grep -c "\"$key\":" out.jsonl)" 30
done
for file in config.json model.safetensors training.safetensors tokenizer.json vocab.json image.safetensors; do
    [ -s "whole/$file" ] || wrong "whole/$file is missing"
done
# Validation is what mot-eval prints.
val=$(tail -n 1 out.jsonl | sed 's/.*"val_loss":\([0-9.]*\).*/\1/')
all=$(mot-eval --context 48 whole a.mot | awk '$2 == "all" { print $4 }')
equal "$(printf '%.4f' "$val")" "$(printf '%.4f' "$all")"
# Twice the same run is twice the same, but for the clock.
train -o again --steps 30 --val a.mot --val-every 10 --save-every 7 a.mot > again.jsonl
same whole/model.safetensors again/model.safetensors
same_but_time again.jsonl out.jsonl

# Another set of instructions rounds otherwise, and computes the same.
(export MOT_CPU=baseline && train -o plain --steps 1 a.mot > plain.jsonl)
loss() { sed 's/.*"loss":\([0-9]*\.[0-9]\{4\}\).*/\1/'; }
equal "$(loss < plain.jsonl)" "$(head -n 1 out.jsonl | loss)"

# bf16, where the processor has it: nearly the same losses, bit for bit when resumed; or a sentence that says what is missing.
if train -o x --dtype bf16 --dry-run > x.tsv 2> err; then
    train -o half --dtype bf16 --steps 8 --save-every 4 a.mot > half.jsonl
    head -qn 1 out.jsonl half.jsonl | sed 's/.*"loss":\([0-9.]*\).*/\1/' | tr '\n' ' ' > first
    awk '{ d = $1 - $2; exit !(d != 0 && d * d < 1e-4) }' first || wrong "first loss, f32 and bf16: $(cat first)"
    mot-train -q -c nano -t tok --batch 2 --seq 48 --threads 2 -o part --dtype bf16 --steps 8 --save-every 4 a.mot > part.jsonl &
    pid=$!
    while [ ! -s part/training.safetensors ] && kill -0 $pid 2> err; do :; done
    kill -9 $pid 2> err || true
    wait $pid || true
    train --resume -o part --dtype bf16 --steps 8 --save-every 4 a.mot > rest.jsonl
    same half/model.safetensors part/model.safetensors
    mot-train --resume --steps 9 --batch 2 --seq 48 --save-every 4 -o part a.mot > rest.jsonl 2> err
    says 'dtype was "bf16" in the saved run and is "f32" now'
    MOT_CPU=baseline fails mot-train -q -c nano -t tok -o x --dtype bf16 --steps 1 a.mot
    says 'MOT_CPU.*bf16'
    mot-eval --dtype bf16 half a.mot > half.tsv
    mot-eval half a.mot > whole.tsv
    cmp -s half.tsv whole.tsv && wrong 'mot-eval --dtype bf16 is mot-eval'
    paste half.tsv whole.tsv | awk 'NR > 1 { d = $4 - $10; if (d * d > 1e-4) exit 1 }' || wrong 'mot-eval --dtype bf16'
else
    says 'bf16.*needs'
fi
fails mot-train -q -c nano -t tok -o x --dtype f8 --steps 1 a.mot
says 'no dtype "f8".*f32'

# Killed at any moment and resumed, it ends the same.
for lines in 1 9 16; do
    rm -rf killed
    : > killed.jsonl
    mot-train -q -c nano -t tok --batch 2 --seq 48 --threads 2 -o killed --steps 30 --val a.mot --val-every 10 --save-every 7 \
        a.mot > killed.jsonl &
    pid=$!
    while [ "$(wc -l < killed.jsonl)" -lt "$lines" ] && kill -0 $pid 2> err; do :; done
    kill -9 $pid 2> err || true
    wait $pid || true
    train --resume -o killed --steps 30 --val a.mot --val-every 10 --save-every 7 a.mot > rest.jsonl
    same whole/model.safetensors killed/model.safetensors
    same_but_time killed/log.jsonl whole/log.jsonl
done
# What a killed save left behind is swept up by the next run.
echo half > killed/training.safetensors.tmp-123
train --resume -o killed --steps 30 --val a.mot --val-every 10 --save-every 7 a.mot
absent killed/*.tmp-*

# A disk that fills up within the first save: with room again, --resume begins anew and ends the same.
size() { wc -c < "$1"; }
blocks=$(($(size whole/model.safetensors) / 512 + 64))
[ $((blocks * 512)) -lt "$(size whole/training.safetensors)" ] || wrong 'both files would fit'
(
    trap '' XFSZ
    ulimit -f $blocks
    fails mot-train -q -c nano -t tok --batch 2 --seq 48 --threads 2 -o full --steps 30 --val a.mot --val-every 10 --save-every 7 \
        a.mot > full.jsonl
    says 'training.safetensors: cannot write'
)
train --resume -o full --steps 30 --val a.mot --val-every 10 --save-every 7 a.mot > full.jsonl 2> err
says 'nothing saved yet'
same whole/model.safetensors full/model.safetensors
same_but_time full/log.jsonl whole/log.jsonl
# A folder with weights alone has nothing to go on with.
rm full/training.safetensors
fails mot-train -q --resume -o full --steps 30 a.mot
says 'full: .*training.safetensors.*--init'

# An interrupt saves and stops with the signal's status; config and tokenizer are the run's own on resuming.
: > stopped.jsonl
mot-train -q -c nano -t tok --batch 2 --seq 48 -o stopped --steps 100000 --save-every 0 a.mot > stopped.jsonl 2> stop.err &
pid=$!
while [ "$(wc -l < stopped.jsonl)" -lt 3 ]; do :; done
fails mot-train --resume -o stopped a.mot
says 'another program'
kill -TERM $pid
status=0
wait $pid || status=$?
equal "$status" 143
grep -q 'interrupted at step' stop.err || wrong "$(cat stop.err)"
done=$(wc -l < stopped/log.jsonl)
mot-train -q --resume -o stopped --steps $((done + 2)) --batch 2 --seq 48 a.mot > more.jsonl 2> err
equal "$(wc -l < more.jsonl | tr -d ' ')" 2
says 'steps was 100000'

# So does a terminal that goes away; a second signal does not wait.
: > gone.jsonl
mot-train -q -c nano -t tok --batch 2 --seq 48 -o gone --steps 100000 --save-every 0 a.mot > gone.jsonl 2> gone.err &
while [ "$(wc -l < gone.jsonl)" -lt 3 ]; do :; done
kill -HUP $!
status=0
wait $! || status=$?
equal "$status" 129
[ -s gone/training.safetensors ] || wrong 'nothing is saved after SIGHUP'
mkfifo silent
mot-train -q -c nano -t tok -o second --steps 1 - < silent 2> err &
exec 3> silent
sleep 0.2
kill -TERM $!
sleep 0.2
kill -TERM $!
status=0
wait $! || status=$?
exec 3>&-
equal "$status" 143

# A standard output that takes no more stops the run, and nothing is lost.
if [ -w /dev/full ]; then
    fails mot-train -q -c nano -t tok --batch 2 --seq 48 -o stopped_up --steps 30 a.mot > /dev/full
    says 'standard output: cannot write: No space.*step 1 is saved'
    train --resume -o stopped_up --steps 2 a.mot > out 2> err
    equal "$(wc -l < out | tr -d ' ')" 1
fi

# Data that end the run, in a later pass, do not take the steps with them.
cp a.mot b.mot
head -c 600 a.mot > c.mot
: > broken.jsonl
mot-train -q -c nano -t tok --batch 2 --seq 48 --shuffle 0 -o broken --steps 100000 b.mot > broken.jsonl 2> err &
while [ "$(wc -l < broken.jsonl)" -lt 3 ]; do :; done
mv c.mot b.mot
status=0
wait $! || status=$?
equal "$status" 1
says 'b.mot: truncated.*is saved'
equal "$(tail -n 1 broken.jsonl | sed 's/.*"step":\([0-9]*\),.*/\1/')" "$(sed 's/.*step \([0-9]*\) is saved/\1/' err)"
[ -s broken/training.safetensors ] || wrong 'nothing is saved'

# A folder that is named like a preset is a folder all the same.
train --arch dense -o nano --steps 1 a.mot > out
mot-train -q --resume -o nano --steps 2 --batch 2 --seq 48 a.mot > out 2> err
mot-eval nano a.mot > out

# A pipe ends when it ends; its length is not known beforehand.
cat a.mot | train -o piped --steps 1000 - > piped.jsonl 2> err
says 'the data ended'
[ "$(wc -l < piped.jsonl)" -gt 3 ] || wrong 'too few steps from a pipe'
fails mot-train -q -c nano -t tok --batch 2 --seq 48 -o none - < a.mot
says 'give --steps'
mot-eval -q piped a.mot > out

# Dense and MoT: the same FLOPs, the same first tower.
mot-train -c nano -t tok --dry-run --batch 2 --seq 48 --arch dense > dense.tsv
mot-train -c nano -t tok --dry-run --batch 2 --seq 48 --arch mot > mot.tsv
value() { awk -v k="$2" '$1 == k { print $2 }' "$1"; }
for key in flops_per_step params_active params_embedding bytes_activations; do
    equal "$(value dense.tsv $key)" "$(value mot.tsv $key)"
done
[ "$(value mot.tsv params_total)" -gt "$(value dense.tsv params_total)" ] || wrong 'MoT has no more parameters'
# A dense run's config, which maps everything to tower 0, is no obstacle to --arch mot.
mot-train -c nano -t tok -o flat --arch dense --steps 0
mot-train -c flat/config.json -t tok --dry-run --batch 2 --seq 48 --arch mot > flat.tsv
same flat.tsv mot.tsv
# By hand: 2 layers of 4 (32 32) + 3 (32 96), a head of V x 32, 96 rows; attention over 2 x 48 x 49 / 2 pairs, 2 products.
vocab=$(awk -v RS=, '/"size"/ { gsub(/[^0-9]/, ""); n += $0 } END { print n }' tok/vocab.json)
hand=$((3 * (2 * 96 * (2 * (4 * 32 * 32 + 3 * 32 * 96) + vocab * 32) + 2 * 2 * 2 * 2352 * 32)))
equal "$(value dense.tsv flops_per_step)" "$hand"

# Less kept, made again: the same run to the last bit, in less memory.  One layer of two again, by hand.
train -o kept --steps 8 a.mot > kept.jsonl
train -o made --steps 8 --save-every 4 --recompute light a.mot > made.jsonl
same kept/model.safetensors made/model.safetensors
train -o block --steps 8 --recompute block a.mot > made.jsonl
same kept/model.safetensors block/model.safetensors
mot-train -c nano -t tok --dry-run --batch 2 --seq 48 --arch mot --recompute block > block.tsv
[ "$(value block.tsv bytes_activations)" -lt "$(value mot.tsv bytes_activations)" ] || wrong 'recomputation saves nothing'
equal "$(value block.tsv flops_per_step)" "$(value mot.tsv flops_per_step)"
equal "$(value block.tsv flops_recomputed_per_step)" "$((2 * 96 * (4 * 32 * 32 + 2 * 32 * 96) + 2 * 2 * 2352 * 32))"
equal "$(value block.tsv bytes_context)" 0
exits 2 mot-train -c nano -t tok -o x --recompute all a.mot
says 'none, light or block'

# Freezing, learning rates by name, starting from a folder.
train -o start --steps 0 > out
equal "$(cat out)" ''
train -o frozen --init start --freeze '*' --steps 3 a.mot > out
same start/model.safetensors frozen/model.safetensors
train -o scaled --init start --lr-scale '*=0' --steps 3 a.mot > out2
same_but_time out2 out
exits 2 mot-train -c nano -t tok -o x --lr-scale nonsense a.mot
exits 2 mot-train -c nano -t tok -o x --arch moe a.mot
exits 2 mot-train -c nano -t tok -o x --beta1 1 a.mot
says 'from 0 to 0.9999999'
fails mot-train -q -c nano -t tok --batch 2 --seq 48 -o x --freeze 'no.such.*' --steps 1 a.mot
says 'matches no tensor'

# Refusals.
fails mot-train -q -c nano -t tok --batch 2 --seq 48 -o whole --steps 1 a.mot
says 'already holds a model'
fails mot-train -c nosuch -t tok -o x --steps 1 a.mot
says 'preset'
fails mot-train -q -c nano -t tok --batch 2 --seq 48 -o x --seq 5000 --steps 1 a.mot
says 'max_position_embeddings'
mot-tokenize -q --learn text=290 -t other "$T/files/samples"
printf "words and words" | mot-tokenize -q -t other -o other.mot -f text -
fails mot-train -q -c nano -t tok --batch 2 --seq 48 -o x --steps 1 other.mot
says 'vocabulary'
fails mot-train -q --resume -c micro -t tok -o whole --steps 31 a.mot
says 'another configuration'
# Weights of the same shapes can be another function, or another loss.
swap='/"ffn": \[/,/\]/{s/1/x/;s/2/1/;s/x/2/;}'
for change in 's/"rms_norm_eps": [^,]*/"rms_norm_eps": 0.1/' 's/"z_loss": [^,]*/"z_loss": 0.1/' "$swap" \
    's/"norm_placement": "pre"/"norm_placement": "post"/' '/"loss_weights"/,/\]/s/1.0/2.0/'; do
    sed "$change" whole/config.json > other.json
    fails mot-train -q --resume -c other.json -o whole --steps 31 a.mot
    says 'another configuration'
done
if ! mot-train -q -c nano -t tok --batch 2 --seq 48 -o x --device cuda --steps 0 a.mot 2> err; then
    # Not built in, no driver, no GPU or one that is too old.
    grep -q 'device "cuda": .*\(without CUDA\|driver\|GPU\)' err
fi
rm -rf x
fails mot-train -q -c nano -t tok --batch 2 --seq 48 -o x --device abacus --steps 1 a.mot
says 'abacus.*cpu.*cuda'
MOT_CPU=avx9 fails mot-train -q -c nano -t tok --batch 2 --seq 48 -o x --steps 1 a.mot
says 'MOT_CPU.*avx9.*baseline'
fails mot-train -q -c nano -t tok --batch 2 --seq 48 -o x --lr 1e6 --clip 0 --steps 200 a.mot
says 'diverged'
head -c 600 a.mot > cut.mot
fails mot-train -q -c nano -t tok --batch 2 --seq 48 -o cut --steps 3 cut.mot
says 'truncated'
