# mot-tokenize on pictures and sounds: learn, encode from folders, tars and JSON Lines, order, decode, what has no codec.
. "$T/cli.sh"
modalities() { # the order of each document's modalities, a line each
    mot-tokenize --dump "$@" | sed 's/"ids":\[[^]]*\]//g; s/[^a-z]/ /g; s/segments\|modality\|bytes\|text//g; s/  */ /g; s/^ //; s/ $//'
}
samples=$T/files/samples
mot-tokenize -q --learn text=300,image=32,speech=16 -t tok --image-size 32 "$samples"
for f in tokenizer.json image.safetensors speech.safetensors vocab.json; do [ -s tok/$f ]; done
mot-tokenize -q --learn text=300,image=32,speech=16 -t twin --image-size 32 --threads 1 "$samples"
cmp tok/vocab.json twin/vocab.json # the digest covers all files: learning is repeatable, on any number of threads

# A folder and a tar of it hold the same documents.
mot-tokenize -q -t tok -o s.mot "$samples"
tar -cf s.tar -C "$T/files" --sort=name samples
mot-tokenize -q -t tok s.tar | cmp - s.mot
gzip -c s.tar | mot-tokenize -q -t tok -f tar - | cmp - s.mot
equal "$(mot-tokenize --info s.mot | awk -F '\t' '$2 != "modality" { print $2, $3 }' | tr '\n' ' ')" 'text 8 image 8 speech 8 all 8 '

# Order: text first, media first, or drawn by the seed.
equal "$(mot-tokenize -q -t tok --order media-first "$samples" | mot-tokenize --decode -f lines | head -n 1)" 'A red disc on a pale ground.'
mot-tokenize -q -t tok --order text-first -o t.mot "$samples"
mot-tokenize -q -t tok --order media-first -o m.mot "$samples"
text_leads() { mot-tokenize --dump "$1" | grep -vc '"ids":\[0,2\]},{"modality":"image"' || true; }
equal "$(text_leads t.mot) $(text_leads m.mot)" '8 0'
mixed=$(text_leads s.mot)
[ "$mixed" -gt 0 ]
[ "$mixed" -lt 8 ]
mot-tokenize -q -t tok --order random=1 "$samples" | cmp - m.mot
mot-tokenize -q -t tok --order random --seed 0 "$samples" | cmp - s.mot
mot-tokenize -q -t tok --seed 3 -o seed.mot "$samples"
exits 1 cmp -s seed.mot s.mot

# JSON Lines: the order given, paths relative to the file.
mkdir sub
cp "$samples"/000.* sub
echo '{"segments":[{"speech":"000.wav"},{"text":"a"},{"image":"000.png"},{"image":"000.png"},{"text":"b"}]}' > sub/x.jsonl
mot-tokenize -q -t tok -o x.mot sub/x.jsonl
equal "$(modalities x.mot)" 'speech image image'
mot-tokenize --decode -o out x.mot
equal "$(ls out | tr '\n' ' ')" '000000.2.png 000000.2.txt 000000.png 000000.txt 000000.wav '
equal "$(cat out/000000.txt out/000000.2.txt)" ab
cmp out/000000.png out/000000.2.png
equal "$(mot-tokenize --decode x.mot 2> err)" ab
says '3 pictures and sounds were passed over'

# The delimiters: ids 2 3 around pictures, 4 5 around sounds, with --raw as well.
mot-tokenize -q -t tok --raw sub/x.jsonl | mot-tokenize --dump | sed 's/{"modality":"\(image\|speech\)","ids":\[[^]]*\]}/\1/g' > ids
a=$(printf a | mot-tokenize -q -t tok --raw | mot-tokenize --dump | sed 's/.*\[\([0-9,]*\)\].*/\1/')
b=$(printf b | mot-tokenize -q -t tok --raw | mot-tokenize --dump | sed 's/.*\[\([0-9,]*\)\].*/\1/')
t='{"modality":"text","ids":['
equal "$(cat ids)" "{\"segments\":[${t}4]},speech,${t}5,$a,2]},image,${t}3,2]},image,${t}3,$b]}],\"bytes\":2}"

# What was written is a PNG and a WAV again: encoding it gives a document of the same shape.
mot-tokenize -q -t tok out/000000.png | mot-tokenize --info - | grep -q '^-	image	1	1	16	'
equal "$(head -c 4 out/000000.wav)" RIFF
mot-tokenize -q -t tok out/000000.wav | mot-tokenize --info - | grep -q '^-	speech	1	1	'

# Dump and pack, and what pack refuses.
mot-tokenize --dump s.mot | mot-tokenize --pack -q -t tok | cmp - s.mot
mot-tokenize --dump s.mot | sed '3s/"image"/"speech"/' > wrong.jsonl
fails mot-tokenize --pack -q -t tok -o wrong.mot wrong.jsonl
says 'wrong.jsonl:3: .*speech'
absent wrong.mot

# A text tokenizer has no codec for pictures: skipped by name, an error with --strict, a failure if nothing is left.
mot-tokenize -q --learn text=300 -t words "$samples"
mot-tokenize -t words -o w.mot sub/000.txt sub/000.png 2> err
says 'skipped: .*000.png: .*image'
equal "$(mot-tokenize --decode w.mot)" 'A red disc on a pale ground.'
rm w.mot
fails mot-tokenize --strict -t words -o w.mot sub/000.txt sub/000.png
says '000.png: .*image'
absent w.mot
fails mot-tokenize -t words -o w.mot sub/000.png
says 'nothing to write'
absent w.mot

# Damaged files are named and skipped; the others arrive.
head -c 100 "$samples/001.png" > sub/001.png
head -c 20 "$samples/001.wav" > sub/002.wav
echo 'no picture' > sub/003.png
: > sub/004.png
mot-tokenize -t tok -o damaged.mot sub/000.txt sub/00[1-4].* 2> err
for i in 001.png 002.wav 003.png 004.png; do grep -q "skipped: .*$i" err; done
says ' 1 documents, .* 4 records skipped'

# So are records that hold nothing, and members of a tar that are links to what is elsewhere.
echo '{"segments":[]}' > sub/none.jsonl
echo '{"text":"a"}' >> sub/none.jsonl
mot-tokenize -t tok -o none.mot sub/none.jsonl 2> err
says 'skipped: sub/none.jsonl:1: '
says ' 1 documents, .* 1 records skipped'
echo '{"image":"000.png\u0000.txt"}' > sub/zero.jsonl
fails mot-tokenize -t tok -o zero.mot sub/zero.jsonl
says 'zero.jsonl:1: key "image"'
mkdir linked
echo '{"id":1}' > linked/a.json
cp "$samples/000.png" linked/b.png
ln linked/b.png linked/c.png
ln -s b.png linked/d.png
tar -cf linked.tar --sort=name linked
mot-tokenize -t tok -o linked.mot linked.tar 2> err
says 'skipped: linked.tar: linked/a: no text'
says 'skipped: linked.tar: linked/c.png: a link to linked/b.png'
says 'skipped: linked.tar: linked/d.png: a link to b.png'
says ' 1 documents, .* 3 records skipped'
tar -chf linked.tar --hard-dereference --sort=name linked
mot-tokenize -t tok -o linked.mot linked.tar 2> err
says ' 3 documents, .* 1 records skipped'

# A folder that moved is found with -t; one that changed is refused.
mv tok moved
fails mot-tokenize --decode -o again s.mot
says 's.mot: .*give -t TOK'
mot-tokenize --decode -t moved -o again s.mot
cmp again/000000.txt "$samples/000.txt"
mv words tok
fails mot-tokenize --decode -o again s.mot
says 'give -t TOK'
