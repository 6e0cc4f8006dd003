# mot-eval: TSV, JSON and per-token losses agree; several shards; pipes; documents of one token; vocabularies that do not match.
. "$T/cli.sh"
mot-tokenize -q --learn text=300,image=32,speech=16 -t tok --image-size 32 "$T/files/samples"
mot-tokenize -q -t tok -o a.mot "$T/files/samples"
mot-train -q -c nano -t tok -o run --steps 5 --batch 2 --seq 64 a.mot > log

mot-eval run a.mot > a.tsv
equal "$(head -n 1 a.tsv | tr '\t' ' ')" 'shard modality tokens nll ppl bits_per_byte'
equal "$(awk 'NR > 1 { print $2 }' a.tsv | tr '\n' ' ')" 'text image speech all '
# Sums over the tokens themselves.
mot-eval --per-token run a.mot > tokens.jsonl
equal "$(wc -l < tokens.jsonl | tr -d ' ')" 8
equal "$(grep -c '^{"doc":[0-9]*,"ids":\[[0-9,]*\],"nll":\[null,' tokens.jsonl)" 8
mean=$(sed 's/.*"nll":\[null,//; s/\]}//' tokens.jsonl | tr ',' '\n' | awk '{ s += $1; n++ } END { printf "%d %.4f", n, s / n }')
equal "$mean" "$(awk '$2 == "all" { printf "%d %.4f", $3, $4 }' a.tsv)"
equal "$(sed 's/.*"ids":\[//; s/\].*//' tokens.jsonl)" \
    "$(mot-tokenize --dump a.mot | sed 's/{"segments":\[//; s/{"modality":"[a-z]*","ids":\[//g; s/\]}\]*//g; s/,"bytes.*//; s/\].*//')"
# JSON holds the same figures.
equal "$(mot-eval --json run a.mot | grep -c '"modality":"image","tokens":[0-9]*,"nll":[0-9.]*,"ppl":[0-9.]*,"bits_per_byte":null}')" 1
# Bits per byte: the text's share of the loss over its bytes.
bytes=$(mot-tokenize --dump a.mot | sed 's/.*"bytes"://; s/}//' | awk '{ n += $1 } END { print n }')
awk -v b="$bytes" '$2 == "text" { d = $3 * $4 / log(2) / b - $6; exit !(d < 1e-3 && d > -1e-3) }' a.tsv || wrong 'bits per byte'

# A pipe; several shards and their sum; whatever else is in the batch changes nothing.
mot-eval run - < a.mot | sed 's/^-/a.mot/' > piped.tsv
same a.tsv piped.tsv
mot-eval run a.mot a.mot > two.tsv
equal "$(awk '$1 == "total" && $2 == "all" { print $3 }' two.tsv)" "$(awk '$2 == "all" { print 2 * $3 }' a.tsv)"
mot-tokenize --dump a.mot | sed -n 3p | mot-tokenize -q --pack -t tok | mot-eval --per-token run - | sed 's/"doc":0/"doc":2/' > third
sed -n 3p tokens.jsonl > expected
equal "$(sed 's/\.\([0-9]\{3\}\)[0-9]*/.\1/g' third)" "$(sed 's/\.\([0-9]\{3\}\)[0-9]*/.\1/g' expected)"

# Documents without a target, windows, threads.
echo '{"segments":[{"modality":"text","ids":[0]}],"bytes":0}' | mot-tokenize -q --pack -t tok -o one.mot
equal "$(mot-eval --per-token run one.mot)" '{"doc":0,"ids":[0],"nll":[null]}'
fails mot-eval run one.mot
says 'nothing to score'
mot-eval --context 8 --stride 3 run a.mot > windows.tsv
exits 2 mot-eval --context 8 --stride 9 run a.mot
says 'more than --context'
equal "$(cut -f 3 windows.tsv)" "$(cut -f 3 a.tsv)"
exits 1 cmp -s windows.tsv a.tsv
mot-eval --threads 1 run a.mot | cut -f 1-3 > threads.tsv
equal "$(cat threads.tsv)" "$(cut -f 1-3 a.tsv)"

# What does not belong together, and folders that are no models.
mot-tokenize -q --learn text=290 -t other "$MAN/mot.7" -f text 2> err || mot-tokenize -q --learn text=290 -t other "$T/cli.sh" -f text
printf 'words' | mot-tokenize -q -t other -o other.mot -f text -
fails mot-eval run other.mot
says 'vocabulary'
fails mot-eval tok a.mot
says 'config.json'
cp -r run broken
head -c 100000 run/model.safetensors > broken/model.safetensors
fails mot-eval broken a.mot
says 'model.safetensors'
# Weights in several files, with an index that names none (convert.sh has good ones).
mv broken/model.safetensors broken/model-00001-of-00002.safetensors
echo '{"weight_map":{}}' > broken/model.safetensors.index.json
fails mot-eval broken a.mot
says 'weight_map'
fails mot-eval --context 100000 run a.mot
says 'max_position_embeddings'
