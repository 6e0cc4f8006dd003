# mot-tokenize with codecs that are nets, with another folder's text tokenizer, and --info --quality.
. "$T/cli.sh"
samples=$T/files/samples
here=$PWD
mkdir pictures sounds
cp "$samples"/*.txt "$samples"/*.png pictures
cp "$samples"/*.txt "$samples"/*.wav sounds
(cd "$T/.." && test_nets --write "$here") # vqgan, encoder, hubert (its config.json), centres .safetensors
ids() { # MODALITY SHARD
    mot-tokenize --info "$2" | awk -F '\t' -v m="$1" '$2 == m { print $5 }'
}

# A VQGAN: 256 codes of 64 a picture; the folder stands alone.
cat > c.yaml << 'END'
model:
  params:
    n_embed: 64
    ddconfig: # what there is
      ch: 32
      resolution: 32
      ch_mult: [1, 2]
      attn_resolutions:
      - 16
END
mot-tokenize -q --learn text=300 --image-codec vqgan:vqgan.safetensors,c.yaml -t tok pictures
mv vqgan.safetensors elsewhere.safetensors
mot-tokenize -q -t tok -o a.mot pictures
mot-tokenize -q -t tok --threads 1 pictures | cmp - a.mot
equal "$(ids image a.mot)" $((8 * 256))
grep -q '"kind": "vqgan"' tok/vocab.json
mot-tokenize -q --decode -o out a.mot
[ -s out/000007.png ]
mv elsewhere.safetensors vqgan.safetensors

fails mot-tokenize -t tok --device abacus pictures
says 'no device "abacus"'

# Without its decoder, under Hugging Face's names: the same codes, and a clear word.
mot-tokenize -q --learn text=300 --image-codec vqgan:encoder.safetensors,c.yaml -t half pictures
mot-tokenize -q -t half -o b.mot pictures
mot-tokenize --dump a.mot > a.json
mot-tokenize --dump b.mot | cmp - a.json
fails mot-tokenize --decode -o out2 b.mot
says 'no decoder'

# Another folder's text: ids as there, delimiters behind them; nothing to read; in place only once.
mkdir from
cp "$T/golden/tokenizer/llama3.json" from/tokenizer.json
echo '{"eos_token_id":[1,2]}' > from/generation_config.json
mot-tokenize -q --learn text=from --image-codec vqgan:vqgan.safetensors --image-size 32 -t both
printf 'Hello, world' | mot-tokenize -q --raw -t from | mot-tokenize --dump > x
printf 'Hello, world' | mot-tokenize -q --raw -t both | mot-tokenize --dump | cmp - x
grep -q '<|boi|>' both/tokenizer.json
same from/generation_config.json both/generation_config.json
mot-tokenize -q -t both -o c.mot pictures/000.png
equal "$(mot-tokenize --dump c.mot | grep -o '"modality":"[a-z]*"' | tr -d '\n')" '"modality":"text""modality":"image""modality":"text"'
mot-tokenize --decode -o out3 c.mot
[ -s out3/000000.png ]
mot-tokenize -q --learn text=both,image=8 --image-size 16 -t third pictures # its delimiters serve again
mot-tokenize -q --learn text=from,speech=8 -t from sounds
fails mot-tokenize --learn text=from,image=8 -t from pictures
says 'from/vocab.json'
exits 2 mot-tokenize --learn text=from --image-codec vqgan:vqgan.safetensors -t both pictures
exits 2 mot-tokenize --learn image=8 --image-codec vqgan:vqgan.safetensors -t both pictures
exits 2 mot-tokenize --learn text=300 --image-codec jpeg:x -t both pictures
fails mot-tokenize --learn text=./none --image-codec vqgan:vqgan.safetensors --image-size 32 -t both
says 'none/tokenizer.json'

# What is wrong with a net is told before anything is written.
printf 'n_embed: 65\nch_mult: [1]\n' > d.yaml
fails mot-tokenize -q --learn text=300 --image-codec vqgan:vqgan.safetensors,d.yaml --image-size 32 -t wrong pictures
says 'n_embed = 65, its tensors 64; the configuration says levels of ch_mult = 1'
fails mot-tokenize -q --learn text=300 --image-codec vqgan:hubert.safetensors -t wrong pictures
says 'encoder.conv_in.weight'
head -c 5000 vqgan.safetensors > cut.safetensors
fails mot-tokenize -q --learn text=300 --image-codec vqgan:cut.safetensors -t wrong pictures
absent wrong/vocab.json wrong/image.safetensors

# HuBERT: centres of a file, or learned; repeats merged; no way back.
mot-tokenize -q --learn text=300 --speech-codec hubert:hubert.safetensors,layer=2,units=centres.safetensors -t units sounds
mot-tokenize -q -t units -o d.mot sounds
n=$(ids speech d.mot)
[ "$n" -gt 100 ]
fails mot-tokenize --decode -o out4 d.mot
says 'vocoder'
mot-tokenize -q --learn text=300 --merge-repeats --speech-codec hubert:hubert.safetensors,layer=2,units=centres.safetensors \
    -t merged sounds
mot-tokenize -q -t merged -o e.mot sounds
[ "$(ids speech e.mot)" -lt "$n" ]
mot-tokenize -q --learn text=300,speech=10 --speech-codec hubert:hubert.safetensors,layer=1 -t learned sounds
mot-tokenize -q --learn text=300,speech=10 --speech-codec hubert:hubert.safetensors,layer=1 --threads 1 -t twin sounds
cmp learned/vocab.json twin/vocab.json
mot-tokenize -q -t learned -o f.mot sounds
equal "$(ids speech f.mot)" "$n"
exits 2 mot-tokenize --learn text=300 --speech-codec hubert:hubert.safetensors -t wrong sounds
says 'speech=N'
exits 2 mot-tokenize --learn text=300 --speech-codec hubert:hubert.safetensors,units=vqgan.safetensors -t wrong sounds
says 'units, 32'

# Quality: a line for each folder and codec.
mot-tokenize -q --learn text=300,image=32,speech=16 --image-size 32 -t plain "$samples"
mot-tokenize --info --quality -t plain -t tok -t half -t units "$samples" > q.tsv
equal "$(cut -f 1-6 q.tsv | tr '\t' ' ')" "tokenizer modality codec items tokens codes
plain image vq image_size=32 patch_size=8 8 128 32
plain speech vq 8 $(mot-tokenize -q -t plain "$samples" | mot-tokenize --info | awk -F '\t' '$2 == "speech" { print $5 }') 16
tok image vqgan image_size=32 patch_size=2 8 2048 64
half image vqgan image_size=32 patch_size=2 8 2048 64
units speech hubert 8 $n 20"
awk -F '\t' '$1 == "plain" && $2 == "image" { exit !($7 > 1 && $7 <= 32 && $8 > 1 && $8 <= $7 && $9 > 8 && $10 <= $9 && $11 > 0 && $11 < 1) }' q.tsv
awk -F '\t' '$1 == "plain" && $2 == "speech" { exit !($9 == "-" && $12 > 0 && $12 < 60) }' q.tsv
awk -F '\t' '$1 == "half" || $1 == "units" { exit !($9 == "-" && $12 == "-") }' q.tsv
mot-tokenize --info --quality --json -t plain "$samples" | grep -q '"modality":"speech".*"psnr":null.*"log_spectral_distance":[0-9]'
exits 2 mot-tokenize --info --quality "$samples"
exits 2 mot-tokenize --quality -t plain "$samples"
