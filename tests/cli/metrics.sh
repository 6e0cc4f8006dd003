# mot-eval's metrics: losses of one modality given all else, confidence intervals, captions against references,
# distances of sets of pictures, pictures against their captions.
. "$T/cli.sh"
mot-tokenize -q --learn text=300,image=32,speech=16 -t tok --image-size 32 "$T/files/samples"
mot-tokenize -q -t tok --order text,image,speech -o a.mot "$T/files/samples"
mot-tokenize -q -t tok --order speech,image,text -o b.mot "$T/files/samples"
mot-train -q -c nano -t tok -o run --steps 5 --batch 2 --seq 64 a.mot > log
figure() { # FILE MODALITY COLUMN, of TSV
    awk -F '\t' -v m="$2" -v c="$3" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == c) k = i } $2 == m { print $k }' "$1"
}

# ---- one modality given all else ----
# Where it stands last already, its loss is what it always is: of pictures' codes and sounds' units all tokens count.
mot-eval run a.mot > plain.tsv
mot-eval --conditional speech run a.mot > c.tsv
equal "$(cut -f 2 c.tsv | tr '\n' ' ')" 'modality speech '
equal "$(grep speech c.tsv)" "$(grep speech plain.tsv)"
# So is that of texts that come last, but for what stands around the parts (five tokens a document), which does not count.
mot-eval run b.mot > plain.b.tsv
mot-eval --conditional text run b.mot > c.tsv
equal "$(figure c.tsv text tokens)" $(($(figure plain.b.tsv text tokens) - 5 * 8))
mot-eval --per-token run b.mot > tokens.jsonl
mot-eval --per-token --conditional text run b.mot > c.jsonl
paste -d ' ' c.jsonl tokens.jsonl | sed 's/{"doc":[0-9]*,"ids":\[//g; s/\],"nll":\[/ /g; s/\]}//g' | awk '
    $1 != $3 { exit 1 }
    { n = split($2, some, ","); split($4, all, ",")
      for (i = 1; i <= n; i++) if (some[i] != "null" && some[i] != all[i]) exit 1 }' || wrong 'not the losses of the same documents'
equal "$(sed 's/.*"nll"//' c.jsonl | tr ',' '\n' | grep -c '[0-9]')" "$(figure c.tsv text tokens)"
# The order that a document was written in does not matter to what comes last.
mot-eval --conditional image run a.mot > c.tsv
mot-tokenize -q -t tok --order text,speech,image -o c.mot "$T/files/samples"
mot-eval run c.mot > d.tsv
equal "$(figure c.tsv image nll)" "$(figure d.tsv image nll)"
mot-eval --conditional image --per-token run b.mot > i.jsonl
equal "$(wc -l < i.jsonl | tr -d ' ')" 8
equal "$(sed 's/.*"nll"//' i.jsonl | tr ',' '\n' | grep -c '[0-9]')" "$(figure plain.tsv image tokens)"
# Documents without both are told; without any it is a failure; a modality must be there.
printf 'words\n' | mot-tokenize -q -t tok -f lines -o text.mot -
cat a.mot text.mot > both.mot
mot-eval --conditional speech run both.mot > c.tsv 2> err
says '1 of 9 documents'
equal "$(figure c.tsv speech nll)" "$(figure plain.tsv speech nll)"
mot-eval -q --conditional speech run both.mot 2> err > c.tsv
[ ! -s err ] || wrong 'a note in spite of -q'
fails mot-eval --conditional text run text.mot
says 'no document with both text'
fails mot-eval --conditional video run a.mot
says 'no such modality'

# Pictures of vectors: the mean squared error depends on what is told before them.
mot-tokenize -q --learn text=300 --latent pixels:8 --image-size 32 -t vtok "$T/files/samples"
mkdir pairs
for k in 000 001 002 003; do cp "$T/files/samples/$k.png" "$T/files/samples/$k.txt" pairs; done
mot-tokenize -q -t vtok --order image,text -o v.mot pairs
mot-train -q -c nano -t vtok -o vrun --steps 5 --batch 2 --seq 64 v.mot > log
mot-eval --conditional image vrun v.mot > c.tsv
equal "$(figure c.tsv image nll) $(figure c.tsv image tokens)" '- 64'
mot-tokenize -q -t vtok --order text,image -o w.mot pairs
mot-eval vrun w.mot > d.tsv
equal "$(figure c.tsv image mse)" "$(figure d.tsv image mse)"

# ---- intervals ----
mot-eval --ci 0.95 run a.mot > ci.tsv
equal "$(head -n 1 ci.tsv | tr '\t' ' ')" 'shard modality tokens nll nll_lo nll_hi ppl bits_per_byte'
equal "$(cut -f 1-4,7-8 ci.tsv)" "$(cat plain.tsv)"
awk -F '\t' 'NR > 1 && !($5 < $4 && $4 < $6 && $6 - $5 < 3) { exit 1 }' ci.tsv || wrong 'intervals do not hold their figures'
mot-eval --ci 0.5 run a.mot > half.tsv
equal "$(paste ci.tsv half.tsv | awk -F '\t' 'NR > 1 && $14 - $13 >= $6 - $5' | wc -l | tr -d ' ')" 0
mot-eval --ci 0.95 --seed 1 run a.mot > seed.tsv
exits 1 cmp -s ci.tsv seed.tsv
equal "$(cut -f 1-4 seed.tsv)" "$(cut -f 1-4 ci.tsv)"
equal "$(mot-eval --ci 0.95 --json run a.mot | grep -c '"nll":[0-9.]*,"nll_lo":[0-9.]*,"nll_hi":[0-9.]*,"ppl"')" 4
# The sum of two shards has an interval of its own; a single document has none.
mot-eval --ci 0.95 run a.mot b.mot > two.tsv
awk -F '\t' '$1 == "total" && $2 == "all" { exit !($6 - $5 < 3 && $6 > $4) }' two.tsv || wrong 'no interval of the total'
equal "$(mot-eval --ci 0.95 run text.mot | cut -f 5,6 | sort -u | tr '\t\n' '  ')" '- - nll_lo nll_hi '
mot-eval --ci 0.9 vrun v.mot > ci.tsv
equal "$(head -n 1 ci.tsv | cut -f 9-)" "$(printf 'mse\tmse_lo\tmse_hi')"
equal "$(figure ci.tsv image nll_lo)" '-'
awk -F '\t' '$2 == "image" && !($10 < $9 && $9 < $11) { exit 1 }' ci.tsv || wrong 'no interval of squared errors'
for wrong in 0 1 -1 x 95 nan; do
    exits 2 mot-eval --ci "$wrong" run a.mot
    says '--ci'
done
exits 2 mot-eval --ci 0.9 --per-token run a.mot

# ---- captions ----
printf '1\tA dog runs on the grass.\n2\tTwo men ride horses on a beach.\n3\ta cat\n' > c.tsv
printf '{"id":1,"text":"The dog runs on green grass."}\n{"id":"2","text":"Two men ride horses."}\n{"id":2,"text":"men on a beach"}\n' > r1.jsonl
printf '3\ta cat on a sofa\n4\tnothing\n' > r2.tsv
mot-eval --captions c.tsv r1.jsonl r2.tsv > m.tsv 2> err
says 'references and no caption, and do not count: 1'
equal "$(cut -f 1,2 m.tsv | tr '\t\n' '  ')" 'metric items bleu_1 3 bleu_2 3 bleu_3 3 bleu_4 3 cider 3 '
awk -F '\t' 'NR > 1 && !($3 > 0 && $3 < 10) { exit 1 }' m.tsv || wrong 'captions without figures'
mot-eval -q --captions - r1.jsonl r2.tsv < c.tsv > piped.tsv
same m.tsv piped.tsv
mot-eval -q --captions --ci 0.9 c.tsv r1.jsonl r2.tsv > ci.tsv
equal "$(cut -f 1-3 ci.tsv)" "$(cat m.tsv)"
awk -F '\t' 'NR > 1 && !($4 <= $3 && $3 <= $5 && $4 < $5) { exit 1 }' ci.tsv || wrong 'no intervals of captions'
equal "$(mot-eval -q --captions --ci 0.9 --json c.tsv r1.jsonl r2.tsv | grep -c '^{"metric":"[a-z_1-4]*","items":3,"value":[0-9.]*,"value_lo":[0-9.]*,"value_hi":[0-9.]*}$')" 5
# Words as they are: capitals and periods count.
mot-eval -q --captions --words c.tsv r1.jsonl r2.tsv > words.tsv
exits 1 cmp -s m.tsv words.tsv
head -n 1 c.tsv > one.tsv
equal "$(mot-eval -q --captions one.tsv r1.jsonl | sed -n 's/^cider.*\t//p')" '-'
fails mot-eval --captions c.tsv r1.jsonl
says ':3: 3 has no reference'
cat c.tsv c.tsv > twice.tsv
fails mot-eval --captions twice.tsv r1.jsonl r2.tsv
says 'a second caption of 1'
printf '{"id":1,"text"' > broken.jsonl
fails mot-eval --captions c.tsv broken.jsonl
says 'broken.jsonl:1'
fails mot-eval --captions c.tsv /dev/null
says 'no captions'
fails mot-eval --captions c.tsv "$T/files/samples/000.png"
fails mot-eval --captions c.tsv nowhere
exits 2 mot-eval --captions c.tsv
exits 2 mot-eval --captions
exits 2 mot-eval --captions --conditional text c.tsv r1.jsonl
exits 2 mot-eval --words run a.mot

# ---- Frechet distance ----
samples=$T/files/samples
mkdir some rest one
cp "$samples"/00[0-3].png some && cp "$samples"/00[4-7].png rest && cp "$samples/000.png" one
mot-eval --frechet -t tok some rest > f.tsv
equal "$(cut -f 1-3 f.tsv | tr '\t\n' '  ')" 'metric items references frechet 4 4 '
awk -F '\t' 'NR > 1 && !($4 > 1) { exit 1 }' f.tsv || wrong 'no distance'
mot-eval --frechet -t tok rest some | awk -F '\t' 'NR > 1' > g.tsv
equal "$(cut -f 4 g.tsv)" "$(sed 1d f.tsv | cut -f 4)"
equal "$(mot-eval --frechet -t tok some some | sed 1d | cut -f 4)" 0.000000
# Folders, tars and shards of the same pictures are equal; a codec that keeps the pixels loses hardly anything.
tar -cf some.tar -C some .
equal "$(mot-eval --frechet -t tok some.tar rest)" "$(cat f.tsv)"
mot-tokenize -q --learn text=300 --latent pixels:8 --image-size 32 -t pixels "$samples" 2> err
mot-tokenize -q -t pixels -o some.mot some
mot-eval --frechet some.mot some > f.tsv
awk -F '\t' 'NR > 1 && !($4 < 0.01) { exit 1 }' f.tsv || wrong 'pixels do not come back from a shard'
equal "$(mot-eval --frechet - some < some.mot)" "$(cat f.tsv)"
# Pictures in documents with other things; the shard's own tokenizer beside the one to compare in.
mot-eval --frechet -t pixels a.mot "$samples" > f.tsv
equal "$(sed 1d f.tsv | cut -f 2,3)" "$(printf '8\t8')"
mot-eval --frechet --ci 0.9 -t tok some rest > ci.tsv
awk -F '\t' 'NR > 1 && !($5 >= 0 && $5 <= $4 && $4 <= $6 && $5 < $6) { exit 1 }' ci.tsv || wrong 'no interval of a distance'
equal "$(mot-eval --frechet --ci 0.9 --json -t tok some rest | grep -c '^{"metric":"frechet","items":4,"references":4,"value":[0-9.]*,"value_lo":[0-9.]*,"value_hi":[0-9.]*}$')" 1
fails mot-eval --frechet -t tok some one
says 'one: one picture in it'
mkdir none && echo words > none/words.txt
fails mot-eval --frechet -t tok none some
says 'none: no picture in it'
fails mot-eval --frechet -t tok nowhere some
cp -r some broken && head -c 100 some/000.png > broken/000.png
mot-eval -q --frechet -t tok broken rest > g.tsv 2> err
says 'broken: 1 records skipped'
equal "$(sed 1d g.tsv | cut -f 2)" 3
exits 2 mot-eval --frechet --captions some rest
fails mot-eval --frechet text.mot some
says 'text.mot: no picture'
exits 2 mot-eval --frechet some rest
says '-t TOK is missing'
exits 2 mot-eval --frechet -t tok some
exits 2 mot-eval --frechet -t tok - -
exits 2 mot-eval -t tok run a.mot
head -c 2000 some.mot > cut.mot
fails mot-eval --frechet cut.mot some
mv pixels elsewhere
fails mot-eval --frechet some.mot some
says 'give -t TOK'
equal "$(mot-eval --frechet -t elsewhere some.mot some | sed 1d | cut -f 2)" 4

# FID by a net, here a narrow one of made-up weights.
here=$PWD
(cd "$T/.." && test_metrics --write "$here/inception.safetensors")
mot-eval --frechet --features inception:inception.safetensors some rest > fid.tsv
equal "$(sed 1d fid.tsv | cut -f 1-3)" "$(printf 'fid\t4\t4')"
equal "$(mot-eval --frechet --threads 1 --features inception:inception.safetensors some.tar rest | cut -f 1-3)" "$(cut -f 1-3 fid.tsv)"
equal "$(mot-eval --frechet --features inception:inception.safetensors some some | sed 1d | cut -f 4)" 0.000000
equal "$(mot-eval --frechet --features inception:inception.safetensors -t elsewhere some.mot some --ci 0.9 | sed 1d | cut -f 2,3)" "$(printf '4\t4')"
equal "$(mot-eval --frechet --features patches -t tok some rest)" "$(mot-eval --frechet -t tok some rest)"
fails mot-eval --frechet --features inception:nowhere some rest
fails mot-eval --frechet --features inception:run/model.safetensors some rest
says 'Conv2d_1a_3x3'
head -c 100000 inception.safetensors > cut.safetensors
fails mot-eval --frechet --features inception:cut.safetensors some rest
exits 2 mot-eval --frechet --features other some rest
exits 2 mot-eval --frechet --features inception: some rest
exits 2 mot-eval --features inception:inception.safetensors run a.mot

# ---- CLIP score ----
mkdir clip
(cd "$T/.." && test_clip --write "$here/clip")
mot-eval --clip clip "$samples" > clip.tsv
equal "$(cut -f 1,2 clip.tsv | tr '\t\n' '  ')" 'metric items clip_score 8 clip_cosine 8 '
awk -F '\t' '$1 == "clip_cosine" && !($3 > -1 && $3 < 1 && $3 != 0) { exit 1 }' clip.tsv || wrong 'no cosine'
equal "$(mot-eval --clip clip/model.safetensors --threads 1 "$samples" | cut -c 1-18)" "$(cut -c 1-18 clip.tsv)"
# A shard whose codec keeps the pixels says the same, but for what the small square lost.
mot-tokenize -q -t elsewhere --order image,text -o pairs.mot pairs
mot-eval --clip clip pairs.mot -t elsewhere > a.tsv
mot-eval --clip clip pairs > b.tsv
paste a.tsv b.tsv | awk -F '\t' 'NR > 1 && ($2 != $5 || $3 - $6 > 2 || $6 - $3 > 2) { exit 1 }' || wrong 'a shard and its files differ'
mot-eval --clip clip --ci 0.9 "$samples" > ci.tsv
awk -F '\t' '$1 == "clip_cosine" && !($4 < $3 && $3 < $5) { exit 1 }' ci.tsv || wrong 'no interval of cosines'
# Beside its tokenizer.json a CLIP's folder has BPE files of the same names as other things here.
echo '{"a":0,"b":1}' > clip/vocab.json
equal "$(mot-eval --clip clip "$samples")" "$(cat clip.tsv)"
cp "$samples/000.png" pairs/alone.png
mot-eval --clip clip pairs > c.tsv 2> err
says 'without a text beside them, which do not count: 1'
equal "$(cat c.tsv)" "$(cat b.tsv)"
fails mot-eval --clip clip some
says 'no picture with a text'
fails mot-eval --clip nowhere "$samples"
fails mot-eval --clip run "$samples"
says 'text_model.embeddings.token_embedding.weight'
rm clip/tokenizer.json
fails mot-eval --clip clip "$samples"
says 'tokenizer'
exits 2 mot-eval --clip clip
exits 2 mot-eval --clip clip --per-token "$samples"
