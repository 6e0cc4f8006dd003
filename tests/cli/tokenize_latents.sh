# mot-tokenize with pictures whose tokens stand for vectors: there and back, in every kind of job.
. "$T/cli.sh"
samples=$T/files/samples
mot-tokenize -q --learn text=300,speech=8 --latent pixels:8 --image-size 32 -t tok "$samples"
grep -A 4 '"name": "image"' tok/vocab.json | tr -d ' \n' | grep -q '"size":1,"width":192,"patch":8'

# 16 patches a picture between its delimiters; pictures come back as they were.
mot-tokenize -q -t tok -o a.mot "$samples"
equal "$(mot-tokenize --info a.mot | awk -F '\t' '$2 == "image" { print $3, $4, $5 }')" '8 8 128'
mot-tokenize --info --json a.mot | grep -q '"size":1,"width":192,"patch":8'
mot-tokenize --check -q a.mot
mot-tokenize -q --decode -o out a.mot
[ -s out/000007.png ] && [ -s out/000007.txt ] && [ -s out/000007.wav ]
mot-tokenize --info --quality -t tok "$samples" | awk -F '\t' '$2 == "image" { ok = $3 ~ /^pixels/ && $5 == 128 && $6 == "-" && $10 > 48 } END { exit !ok }'
mot-tokenize --info --quality --json -t tok "$samples" | grep -q '"codes":null,"used":null,"perplexity":null,"psnr":7'
mkdir again
cp out/*.png again
mot-tokenize -q -t tok -o b.mot again
mot-tokenize -q --decode -o out2 b.mot
for i in 0 1 2 3 4 5 6 7; do cmp out/00000$i.png out2/00000$i.png; done

# Threads do not show; packed and not, as JSON and back, in numbered shards, whole or resumed.
for n in 1 3; do mot-tokenize -q -t tok --threads $n --augment 3 --order random --seed 5 -o t$n.mot "$samples"; done
same t1.mot t3.mot
mot-tokenize --dump t1.mot > t.jsonl
grep -q '"rows":4,"columns":4,"vectors":\[\[' t.jsonl
mot-tokenize -q --pack -t tok -o p.mot t.jsonl
same p.mot t1.mot
mot-tokenize -q -t tok --compress --augment 3 --order random --seed 5 -o c.mot "$samples"
mot-tokenize --dump c.mot | cmp - t.jsonl
[ "$(wc -c < c.mot)" -lt "$(wc -c < p.mot)" ]
job="-q -t tok --augment 2 --split 0.7 --shard-size 20K --seed 4 $samples"
mkdir full
mot-tokenize $job -o full/x.mot
for f in full/*.mot; do [ "$(wc -c < "$f")" -le 20480 ] || wrong "$f is too large"; done
[ "$(ls full/x-*.mot | wc -l)" -gt 2 ]
cp -r full part
rm part/x-00002.mot
mot-tokenize $job --resume -o part/x.mot 2> err
for f in full/*.mot; do same "$f" "part/$(basename "$f")"; done

# Ids alone are no picture, and a picture no ids.
fails mot-tokenize --export llmc -o x.bin a.mot
says 'document 0: a picture of vectors'
absent x.bin
mot-tokenize -q --learn text=300,image=8,speech=8 --image-size 32 -t codes "$samples"
fails mot-tokenize --decode -t codes -o out3 a.mot
says 'vocabulary'
bad() { # SAYS JSON
    printf '%s\n' "$2" > bad.jsonl
    fails mot-tokenize --pack -t tok -o bad.mot bad.jsonl
    says "$1"
    absent bad.mot
}
bad 'bad.jsonl:1: .*rows x columns' '{"segments":[{"modality":"image","ids":[300]}]}'
bad 'an array of 192 numbers' '{"segments":[{"modality":"image","rows":1,"columns":1,"vectors":[[1,2]]}]}'

# Truncated, or damaged within the vectors: what was whole before is told.
size=$(wc -c < t1.mot)
head -c $((size - 3000)) t1.mot > cut.mot
fails mot-tokenize --check cut.mot
says 'truncated'
mot-tokenize -q --keep-going --dump cut.mot > cut.jsonl 2> err
n=$(wc -l < cut.jsonl)
[ "$n" -gt 20 ]
head -n "$n" t.jsonl | cmp - cut.jsonl
mot-tokenize -q --keep-going --decode -o out4 cut.mot 2> err

# Patches that do not fit are refused before anything is read.
exits 2 mot-tokenize --learn text=300 --latent pixels:7 -t bad "$samples"
says '64 pixels .* patches of 7'
exits 2 mot-tokenize --learn text=300,image=8 --latent pixels:8 -t bad "$samples"
exits 2 mot-tokenize --learn text=300 --latent pixels:8 --patch-size 4 -t bad "$samples"
exits 2 mot-tokenize --learn text=300 --latent pixel:8 -t bad "$samples"
exits 2 mot-tokenize --latent pixels:8 -t tok "$samples"
absent bad

# VAEs, whose vectors are squares of latent pixels; the folder stands alone; scales come from config.json, or are usual.
here=$PWD
(cd "$T/.." && test_vae --write "$here") # sd, flux .safetensors
for net in sd flux; do
    mot-tokenize -q --learn text=300 --latent vae:$net.safetensors --image-size 32 -t $net "$samples"/*.txt
    mv $net.safetensors elsewhere
    mot-tokenize -q -t $net -o $net.mot "$samples"/*.png
    mot-tokenize -q -t $net --threads 1 "$samples"/*.png | cmp - $net.mot
    mot-tokenize -q --decode -o $net.out $net.mot
    [ -s $net.out/000007.png ]
    mot-tokenize --info --quality -t $net "$samples"/*.png | grep -q 'vae image_size=32'
    grep -q '"kind": "vae"' $net/vocab.json
    mv elsewhere $net.safetensors
done
grep -A 1 '"width": 16,$' sd/vocab.json | grep -q '"patch": 2$'
grep -A 1 '"width": 64,$' flux/vocab.json | grep -q '"patch": 2$'
equal "$(mot-tokenize --info sd.mot | awk -F '\t' '$2 == "image" { print $5 }')" $((8 * 64))
equal "$(mot-tokenize --info flux.mot | awk -F '\t' '$2 == "image" { print $5 }')" $((8 * 16))
echo '{"_class_name": "AutoencoderKL", "scaling_factor": 0.5}' > c.json
mot-tokenize -q --learn text=300 --latent vae:sd.safetensors,c.json,patch=1,shift=0.25 --image-size 32 -t set "$samples"/*.txt
head -c 4000 set/image.safetensors | grep -q '"patch_size":"1","scaling_factor":"0.5","shift_factor":"0.25"'
fails mot-tokenize --learn text=300 --latent vae:sd.safetensors --image-size 31 -t bad2 "$samples"/*.txt
says 'sd.safetensors: .*31 pixels'
exits 2 mot-tokenize --learn text=300 --latent vae:sd.safetensors,c.json,d.json -t bad2 "$samples"
exits 2 mot-tokenize --learn text=300 --latent vae: -t bad2 "$samples"
exits 2 mot-tokenize --learn text=300 --latent vae:sd.safetensors,scale=x -t bad2 "$samples"
exits 2 mot-tokenize --learn text=300 --latent pixels:8 --latent vae:sd.safetensors -t bad2 "$samples"
fails mot-tokenize --learn text=300 --latent vae:c.json -t bad2 "$samples"/*.txt
absent bad2
says 'c.json'
