# mot-profile match and scale: known ratios from logs, all formats, half-written, resumed, foreign and broken logs, the picture.
. "$T/cli.sh"

# training FILE STEPS STRETCH [RAISED]: losses of a power law stretched in time; a step costs 10 FLOPs and 2 seconds.
training() {
    awk -v n="$2" -v r="$3" -v up="${4:-0}" 'BEGIN { for (t = 1; t <= n; t++) {
        text = 3 + up + 4 * (t / r) ^ -0.4; image = 2 + up + 5 * (t / r) ^ -0.3
        printf "{\"step\":%d,\"tokens\":%d,\"flops\":%d,\"seconds\":%d,\"lr\":0.1,\"loss\":%.9f,\"loss_text\":%.9f,\"loss_image\":%s",
               t, 100 * t, 10 * t, 2 * t, (text + image) / 2, text, t % 7 ? sprintf("%.9f", image) : "null"
        if (t % 50 == 0)
            printf ",\"val_loss\":%.9f,\"val_loss_text\":%.9f,\"val_loss_image\":%.9f", (text + image) / 2, text, image
        print "}" } }' > "$1"
}
training dense.jsonl 1000 1
training half.jsonl 1000 0.5
training raised.jsonl 1000 1 0.2

value() { # NAME MODALITY FILE: of a row of TSV
    awk -F '\t' -v name="$1" -v modality="$2" '
        NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i }
        NR > 1 && $2 == modality { print $column[name] }' "$3"
}
near() { # FOUND EXPECTED
    awk -v x="$1" -v y="$2" 'BEGIN { exit !(x - y < 0.005 && y - x < 0.005) }' || wrong "found $1, expected $2"
}

for loss in train val; do
    mot-profile match --loss $loss --format tsv dense.jsonl half.jsonl raised.jsonl > t
    equal "$(cut -f 1,2 t | sed 1d | tr '\t\n' ' ,')" \
        'half.jsonl text,half.jsonl image,half.jsonl all,raised.jsonl text,raised.jsonl image,raised.jsonl all,'
    sed 4q t > half
    for m in text image all; do
        for figure in steps flops seconds final; do near "$(value $figure $m half)" 0.5; done
        equal "$(value reached $m half)" 1
    done
    sed 2,4d t > raised
    equal "$(value final text raised)" -
    awk -v r="$(value reached text raised)" 'BEGIN { exit !(r > 0.1 && r < 0.6) }' || wrong "reached: $(value reached text raised)"
done

# JSON has the contract's names; JSON Lines and TSV the same figures.
n='[0-9.e-]*'
figures="{\"steps\":$n,\"flops\":$n,\"seconds\":$n,\"steps_ci\":\[$n,$n\],\"flops_ci\":\[$n,$n\],\"seconds_ci\":\[$n,$n\],\"final\":$n,\"reached\":1,\"dense_loss\":$n,\"other_loss\":$n}"
mot-profile match --format json dense.jsonl half.jsonl > j
grep -q "^{\"dense\":\"dense.jsonl\",\"loss\":\"train\",\"runs\":\[{\"log\":\"half.jsonl\",\"modalities\":{\"text\":$figures,\"image\":$figures,\"all\":$figures}}\]}\$" j ||
    wrong "$(cat j)"
mot-profile match --format json dense.jsonl raised.jsonl | grep -q '"final":null,"reached":0' || wrong 'null where it is not reached'
mot-profile match --format tsv dense.jsonl half.jsonl > t
mot-profile match --format jsonl dense.jsonl half.jsonl > l
equal "$(sed -n 's/.*"modality":"image".*"final":\([0-9.]*\).*/\1/p' l)" "$(value final image t)"
equal "$(sed 's/.*"image":{"steps":\([0-9.]*\).*/\1/' j)" "$(value steps image t)"
# The table says in words what the other never has.
mot-profile match dense.jsonl half.jsonl raised.jsonl > table
equal "$(grep -c 'not reached' table)" 3
equal "$(grep -c '\] \*' table)" 3
grep -q '^\* not all losses were reached' table || wrong 'no word about the slope of a part'
equal "$(mot-profile match --format md dense.jsonl half.jsonl | grep -c '^| half.jsonl')" 3
# Another seed draws other intervals, the same seed the same; a run's folder stands for its log; one log from a pipe.
mot-profile match --format tsv --seed 0 dense.jsonl half.jsonl > again
same t again
mot-profile match --format tsv --seed 1 dense.jsonl half.jsonl > other
equal "$(cut -f 3 other)" "$(cut -f 3 t)"
mkdir run
cp half.jsonl run/log.jsonl
mot-profile match --format tsv dense.jsonl run | sed 's/^run/half.jsonl/' > folder
same t folder
mot-profile match --format tsv dense.jsonl - < half.jsonl | sed 's/^-/half.jsonl/' > piped
same t piped
exits 2 mot-profile match - - < half.jsonl

# Point by point.
mot-profile match --curve --loss val --format tsv dense.jsonl half.jsonl > points
equal "$(head -n 1 points | tr '\t' ' ')" 'log modality dense_step loss other_step ratio'
equal "$(grep -c text points)" 20
mot-profile match --curve --loss val --format tsv dense.jsonl raised.jsonl | tail -n 1 | grep -q -- '-	-$' || wrong 'a point that is not reached'

# The same log, however it came about: half a line at the end, a resumed run, shuffled lines, training and validation apart,
# Python's NaN.
same_as_half() { # FILE: gives the same figures
    mot-profile match --format tsv dense.jsonl "$1" 2> err | sed "s/^$1/half.jsonl/" > found
    same t found
}
{ cat half.jsonl; printf '{"step":1001,"lo'; } > x.jsonl
same_as_half x.jsonl
says 'x.jsonl:1001: half a line'
{ sed 500q half.jsonl; sed -n '301,$p' half.jsonl; } > x.jsonl
same_as_half x.jsonl
says 'x.jsonl:501: a smaller step'
{ sed 500q half.jsonl | sed 's/"loss_text":/&9/'; cat half.jsonl; } > x.jsonl # what came last counts
same_as_half x.jsonl
awk '{ print (NR * 7919) % 1009 "\t" $0 }' half.jsonl | sort -n | cut -f 2- > x.jsonl
same_as_half x.jsonl
sed 's/"loss_text":[^,}]*/"loss_text":null/' half.jsonl > x.jsonl
sed -n 's/\("step":[0-9]*\),.*\("loss_text":[^,}]*\).*/\1,\2}/p' half.jsonl >> x.jsonl
same_as_half x.jsonl
sed 's/null/NaN/' half.jsonl > x.jsonl
same_as_half x.jsonl
equal "$(cat err)" ''

# Totals that are no totals are left out and named.
sed 's/"seconds":[0-9]*,//' half.jsonl > x.jsonl
mot-profile match --format tsv dense.jsonl x.jsonl > found 2> err
says '"seconds" is missing at step 1'
equal "$(value seconds text found)" -
equal "$(value steps text found)" "$(value steps text t)"
sed '700s/"flops":[0-9]*/"flops":5/' half.jsonl > x.jsonl
mot-profile match --format tsv dense.jsonl x.jsonl > found 2> err
says '"flops" goes back at step 700'
equal "$(value flops text found)" -

# A modality that one log lacks is named and left out.
sed 's/"loss_image":[^,}]*/"loss_speech":1/' half.jsonl > x.jsonl
mot-profile match --format tsv dense.jsonl x.jsonl > found 2> err
says 'no losses of image'
says 'has losses of speech'
equal "$(sed 1d found | cut -f 2 | tr '\n' ' ')" 'text all '

# One step, and few: a slope without an interval.
sed 1q half.jsonl > x.jsonl
equal "$(mot-profile match --format json x.jsonl half.jsonl | grep -c '"steps_ci":null')" 1
mot-profile match dense.jsonl x.jsonl > found

# What cannot be understood is named with its line.
refused() { # SENTENCE FILE
    fails mot-profile match dense.jsonl "$2" > out
    says "$1"
    equal "$(cat out)" ''
}
: > x.jsonl
refused 'x.jsonl: no step in it' x.jsonl
{ sed 10q half.jsonl; echo '{"step":11,'; cat half.jsonl; } > x.jsonl
refused 'x.jsonl:11: column [0-9]*: not valid JSON' x.jsonl
echo '{"text":"a caption"}' > x.jsonl
refused 'x.jsonl:1: no "step": this is no log' x.jsonl
echo '[1,2]' > x.jsonl
refused 'x.jsonl:1: no "step"' x.jsonl
echo '{"step":1.5,"loss":3}' > x.jsonl
refused 'x.jsonl:1: "step" is no whole number' x.jsonl
echo '{"step":1,"loss":"low"}' > x.jsonl
refused 'x.jsonl:1: key "loss": expected a number' x.jsonl
head -c 3000000 /dev/zero | tr '\0' 'x' > x.jsonl
refused 'x.jsonl:1: a line of more than 1 MiB' x.jsonl
sed 's/"val_[^}]*//; s/,}/}/' half.jsonl > x.jsonl
fails mot-profile match --loss val dense.jsonl x.jsonl > out
says 'x.jsonl: no val_loss in it'
refused nothere nothere.jsonl
exits 2 mot-profile match dense.jsonl
exits 2 mot-profile match --loss dev dense.jsonl half.jsonl
exits 2 mot-profile match --smooth 1 dense.jsonl half.jsonl
exits 2 mot-profile match --plot picture.gif dense.jsonl half.jsonl

# The picture: whole or not at all.
mkdir empty
program=$(command -v mot-profile)
(PATH=$PWD/empty; fails "$program" match --plot p.png dense.jsonl half.jsonl) > out 2> err ||
    grep -q 'gnuplot is not installed: Debian has it as gnuplot-nox' err || wrong "$(cat err)"
absent p.png
if command -v gnuplot > /dev/null; then
    cp half.jsonl "it's a_run.jsonl"
    mot-profile match --plot p.svg --loss val dense.jsonl "it's a_run.jsonl" raised.jsonl > out
    grep -q '</svg>' p.svg || wrong 'no SVG'
    grep -q 'a_run' p.svg || wrong 'no legend'
    mot-profile match --plot p.png dense.jsonl half.jsonl > out
    equal "$(head -c 4 p.png | tail -c 3)" PNG
    fails mot-profile match --plot nowhere/p.png dense.jsonl half.jsonl > out
    says nowhere
fi
mkdir broken
printf '#!/bin/sh\necho "line 3: no such terminal" >&2\nexit 1\n' > broken/gnuplot
chmod +x broken/gnuplot
(PATH=$PWD/broken:$PATH; exits 1 mot-profile match --plot q.png dense.jsonl half.jsonl) > out
says 'gnuplot failed with status 1: line 3: no such terminal'
absent q.png q.png.tmp-*

# ---- scale ----
mot-profile scale -c nano --devices 1,8 --batch 2 --seq 64 --gemm 1e12 --memory 1e11 --link 1e10 --device-memory 1e9 --format tsv > s
column() { # NAME DEVICES
    awk -F '\t' -v name="$1" -v n="$2" 'NR == 1 { for (i = 1; i <= NF; i++) c[$i] = i } $1 == n { print $c[name] }' s
}
flops=$(mot-profile flops -c nano --batch 2 --seq 64 --format tsv | awk '$1 == "train_flops_per_step" { print $2 }')
awk -v f="$flops" -v s="$(column gemm_seconds 1)" 'BEGIN { exit !(f / 1e12 == s + 0) }' || wrong "$flops FLOPs in $(column gemm_seconds 1) s"
equal "$(column communication_seconds 1)" 0
equal "$(column fits 8)" yes
awk -v a="$(column bytes_optimizer 1)" -v b="$(column bytes_optimizer 8)" 'BEGIN { exit !(a == 8 * b) }' || wrong 'sharded optimizer'
# In f32 on one device memory is what --dry-run and flops say.
mot-profile flops -c nano --batch 2 --seq 64 --format tsv > f
mot-profile scale -c nano --batch 2 --seq 64 --dtype f32 --gemm 1e12 --memory 1e11 --format tsv > s
equal "$(column bytes_total 1)" "$(awk '$1 == "memory.total" { print $2 }' f)"
mot-profile scale -c chameleon-7b --devices 64 --gemm 4e14 --memory 2e12 --link 2e10 --device-memory 8e10 --shard none > out
grep -q 'no$' out || wrong 'a 7B model does not fit into 80 GB unsharded'
equal "$(mot-profile scale -c nano --gemm 1e12 --memory 1e11 --format json | head -c 14)" '[{"devices":1,'
exits 2 mot-profile scale -c nano --gemm 1e12
says 'no --memory given'
exits 2 mot-profile scale -c nano --gemm 1e12 --memory 1e11 --devices 2
says 'need a --link'
exits 2 mot-profile scale -c nano --gemm 1e12 --memory 1e11 --shard everything
exits 2 mot-profile scale -c nano --gemm 1e12 --memory 1e11 --devices 0
