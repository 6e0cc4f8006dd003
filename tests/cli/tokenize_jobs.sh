# mot-tokenize in large jobs: threads, numbered shards, interrupted and resumed jobs, variations, splits, orders, speech and text
# in turn, reports.
. "$T/cli.sh"
samples=$T/files/samples
cat "$MAN"/*.1 > notes.txt
mot-tokenize -q --learn text=400,image=32,speech=16 -t tok --image-size 32 "$samples" notes.txt

# A tar of 96 samples, some of them bad, and members of other kinds.
mkdir d
for i in $(seq -w 0 95); do
    s=00$((${i#0} % 8))
    for x in png wav txt; do cp "$samples/$s.$x" d/$i.$x; done
    echo "sample $i" >> d/$i.txt
done
echo 'no picture' > d/17.png
head -c 30 "$samples/001.wav" > d/40.wav
for i in 03 04 05; do echo 7 > d/$i.cls; done
tar -cf d.tar --sort=name d
gzip -c d.tar > d.tar.gz
whole=d.tar.gz

# The number of threads does not show.
for n in 1 2 7; do
    mot-tokenize -q -t tok --threads $n --augment 3 -o t$n.mot $whole 2> err
    says '2 records were skipped'
    same t1.mot t$n.mot
done

# What was done: as words, and as JSON.
mot-tokenize -t tok -o r.mot --report r.json $whole 2> err
says '94 documents, .* 2 records skipped'
says 'speech: 94 documents, [0-9]* tokens, 94 sounds, [0-9.]* seconds, [0-9]* bytes, 0.00[0-9]* tokens per byte'
says 'skipped for this reason: 1: neither PNG'
says 'kind that says nothing here: 3 .cls'
grep -q '"documents":94,.*"pictures":94,.*"seconds":[0-9.]*,.*"skipped":2,"reasons":{"neither PNG, JPEG nor WebP":1,.*"passed_over":{".cls":3}}$' r.json
tokens=$(mot-tokenize --info r.mot | awk -F '\t' '$2 == "all" { print $5 }')
grep -q "^{\"documents\":94,\"tokens\":$tokens," r.json
fails mot-tokenize --strict -t tok -o s.mot $whole
says 'd/17.png: neither'
absent s.mot

# Numbered shards: none is too large, together they are the whole.
mot-tokenize -q -t tok --shard-size 3K -o n.mot $whole 2> err
[ "$(ls n-*.mot | wc -l)" -gt 5 ]
for f in n-*.mot; do [ "$(wc -c < "$f")" -le 3072 ] || wrong "$f is too large"; done
mot-tokenize --dump n-*.mot > n.jsonl
mot-tokenize --dump r.mot | cmp - n.jsonl
cat n-*.mot | mot-tokenize --check -q -
mot-tokenize -q -t tok --shard-size 3K -o 'n_%03d.mot' $whole 2> err
same n_000.mot n-00000.mot
mot-tokenize -q -t tok --shard-size 1 -o one.mot "$samples" # a document of more gets a shard of its own
equal "$(ls one-*.mot | wc -l | tr -d ' ')" 8
mot-tokenize -t tok --shard-size 3K -o one.mot "$samples" 2> err
says 'one-0000[1-9].mot is not of this job'

# A job that was interrupted goes on behind what is whole, and gives what it would have given.
job="-q -t tok --augment 2 --split 0.7 --shard-size 3K --seed 4 $whole"
mkdir full part
mot-tokenize $job -o full/x.mot 2> err
count() { ls full part | grep -c "$1" || true; }
[ "$(count 'x-')" -gt 6 ]
[ "$(count 'x.val-')" -gt 2 ]
resumes() { # what is in part/ becomes what is in full/
    mot-tokenize --resume --threads "$1" $job -o part/x.mot 2> err
    diff -r full part > diff || wrong "resumed otherwise: $(cat diff)"
}
resumes 1 # from nothing
resumes 2 # all is there
rm part/x-0000[4-9].mot
resumes 2
rm part/x.val-*
resumes 1
rm part/x-*
head -c 1000 full/x.val-00001.mot > part/x.val-00001.mot # truncated: made again
resumes 2
for delay in 0.02 0.05 0.1 0.2; do
    rm part/*
    mot-tokenize $job -o part/x.mot 2> err &
    sleep $delay
    kill -KILL $! 2> /dev/null || true
    wait $! 2> /dev/null || true
    resumes 2
done
mot-tokenize --resume ${job#-q} -o part/x.mot 2> err # the report counts what was there
says 'part/x-00000.mot: [0-9]* whole shards are kept'
says 'validation: speech: '
fails mot-tokenize --resume $job --seed 5 -o part/x.mot
says 'seed 4.*now it is .*seed 5'
fails mot-tokenize --resume -q -t tok --augment 2 --split 0.7 --shard-size 3K --seed 4 -o part/x.mot "$samples"
says 'the input is not the one it was made of'
mot-tokenize -q -t tok -o part/x-00000.mot "$samples"
fails mot-tokenize --resume $job -o part/x.mot
says 'not of a numbered output'
mot-tokenize -q -t tok -o single.mot "$samples"
mot-tokenize -t tok --resume -o single.mot "$samples" 2> err
says 'single.mot: whole: it is kept'
mot-tokenize -q -t tok -o pair.mot --split 0.5 "$samples"
cp pair.mot pair.copy
rm pair.val.mot
mot-tokenize -q -t tok --resume -o pair.mot --split 0.5 "$samples"
same pair.mot pair.copy
[ -s pair.val.mot ]

# Variations: the first is the record itself, the others differ, and texts alone have none.
mot-tokenize -q -t tok --augment 1 $whole 2> err | cmp - r.mot
mot-tokenize -q -t tok --augment 3 $whole 2> err | mot-tokenize --dump > v.jsonl
awk 'NR % 3 == 1' v.jsonl > first.jsonl
mot-tokenize --dump r.mot | cmp - first.jsonl
[ "$(awk 'NR % 3 != 1' v.jsonl | sort -u | wc -l)" -gt 180 ]
equal "$(printf 'a\nb\n' | mot-tokenize -q -t tok -f lines --augment 3 | mot-tokenize --dump | wc -l | tr -d ' ')" 2

# A split: no source item on both sides, the same for every number of threads.
mot-tokenize -q -t tok --split 0.5 --augment 3 -o s.mot $whole 2> err
mot-tokenize -q -t tok --split 0.5 --augment 3 --threads 1 -o s1.mot $whole 2> err
same s.mot s1.mot
same s.val.mot s1.val.mot
mot-tokenize --decode -f lines s.mot 2> err | grep sample | sort -u > train
mot-tokenize --decode -f lines s.val.mot 2> err | grep sample | sort -u > validation
[ "$(wc -l < train)" -gt 25 ] && [ "$(wc -l < validation)" -gt 25 ]
equal "$(cat train validation | sort | uniq -d)" ''
equal "$(cat train validation | wc -l | tr -d ' ')" 94
printf '{"text":"A red disc."}\n{"text":"a RED disc"}\n{"text":"blue"}\n{"text":"a  red, disc"}\n{"text":"blue!"}\n' > c.jsonl
for seed in 1 2 3 4 5 6; do
    mot-tokenize -q -t tok --split 0.5 --split-key caption --seed $seed -o c.mot c.jsonl
    n=$(mot-tokenize --decode -f lines c.mot | grep -ci red || true)
    case $n in 0 | 3) ;; *) wrong "seed $seed: $n of 3 equal captions" ;; esac
done

# Orders by name.
shape() { mot-tokenize --dump "$@" | sed 's/"modality":"text","ids":\[[0-9],[0-9],.*/text/; s/.*"modality":"\([a-z]*\)".*/\1/' | sort -u | tr '\n' ' '; }
for order in text,image image,text speech,text speech,image,text; do
    mot-tokenize -q -t tok --order $order -o o.mot "$samples"
    last=$(echo $order | sed 's/,.*//')
    first=$(mot-tokenize --dump o.mot | head -n 1 | sed 's/{"segments":\[{"modality":"text","ids":\[0,\([0-9]*\).*/\1/')
    case $last in image) equal "$first" 2 ;; speech) equal "$first" 4 ;; text) [ "$first" -gt 5 ] ;; esac
done
mot-tokenize -q -t tok --order text,image "$samples" > a.mot
mot-tokenize -q -t tok --order text-first "$samples" | cmp - a.mot

# Speech and text in turn: each word of the alignment as one or the other, in order; the transcript is not repeated.
cp "$samples/000.wav" .
cat > a.jsonl <<'END'
{"speech":"000.wav","text":"left out","alignment":[{"start":0,"end":0.1,"text":"one"},{"start":0.1,"end":0.2,"text":"two"},{"start":0.2,"end":0.3,"text":"three"},{"start":0.3,"end":0.4,"text":"four"}]}
END
turns() { # SEED OPTION...
    seed=$1
    shift
    mot-tokenize -q -t tok --seed $seed "$@" a.jsonl | mot-tokenize --decode -f lines 2> err | tr '\n' ' '
}
for seed in 1 2 3 4 5 6 7 8 9; do turns $seed >> turns; done
! grep -q 'left out' turns
for seed in 1 2 3; do equal "$(turns $seed)" "$(turns $seed)"; done
equal "$(turns 1 --interleave 0 --order text,speech)" 'left out '
both=0
for seed in 1 2 3 4 5 6; do
    said=$(turns $seed --switch 1)
    case $said in 'onethree ' | 'twofour ') both=$((both + 1)) ;; *) wrong "switch 1: $said" ;; esac
done
equal $both 6
mkdir al
cp 000.wav al/k.wav
sed 's/"speech":"000.wav",//; s/"text":"left out",//' a.jsonl > al/k.json
tar -cf al.tar al
mot-tokenize -q -t tok --interleave 0 --order text,speech al.tar | mot-tokenize --decode 2> err > said
equal "$(cat said)" 'one two three four'
mot-tokenize -q -t tok --seed 3 al.tar > a.mot
mot-tokenize -q -t tok --seed 3 al | cmp - a.mot
for bad in '{"start":0.2,"end":0.1,"text":"x"}' '{"start":9,"end":10,"text":"x"}' '{"start":0,"end":1}' '7'; do
    echo "{\"speech\":\"000.wav\",\"alignment\":[$bad]}" > bad.jsonl
    fails mot-tokenize -t tok -o bad.mot bad.jsonl
    says 'bad.jsonl:1: alignment: span 0: '
done

# Wrong command lines.
usage() { # PATTERN ARGUMENT...
    pattern=$1
    shift
    exits 2 mot-tokenize "$@" < /dev/null
    says "$pattern"
}
usage 'which files' -t tok --shard-size 1M notes.txt
usage 'which files' -t tok --resume notes.txt
usage 'which files' -t tok --split 0.9 -o - notes.txt
usage 'which split' -t tok --split-key caption -o x.mot notes.txt
usage 'expected caption or file' -t tok --split 0.9 --split-key name -o x.mot notes.txt
usage 'from 0 to 1' -t tok --split 95 -o x.mot notes.txt
usage 'K, M or G' -t tok --shard-size 1T -o x.mot notes.txt
usage 'from 1 to 1000' -t tok --augment 0 notes.txt
usage 'twice' -t tok --order text,text notes.txt
