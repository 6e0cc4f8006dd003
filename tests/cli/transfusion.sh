# Pictures as vectors from end to end: shards, training that resumes to the bit, scoring, generation whatever the batch and the
# threads, and a text model that gets a picture tower without noticing.
. "$T/cli.sh"
mot-tokenize -q --learn text=300,speech=16 --latent pixels:8 --image-size 32 -t tok "$T/files/samples"
mot-tokenize -q -t tok --order random=0.3 -o a.mot "$T/files/samples"
train() { mot-train -q -t tok --batch 2 --seq 64 --seed 3 "$@" a.mot; }

# Training: both modalities have losses, and the run is the same to the bit in two halves, or from one thread to the same one.
for objective in ddpm flow; do
    train -c nano -o "$objective" --objective "$objective" --steps 8 --val a.mot --val-every 8 > "$objective.log"
    grep -q '"val_loss_image":[0-9.]*[1-9]' "$objective.log" || wrong 'no validation loss of pictures'
    train -c nano -o half --objective "$objective" --steps 8 --save-every 4 > /dev/null
    same "$objective/model.safetensors" half/model.safetensors
    rm -r half
    train -c nano -o half --objective "$objective" --steps 4 --schedule constant > /dev/null
    train -c nano -o whole --objective "$objective" --steps 8 --schedule constant > /dev/null
    train --resume -o half --steps 8 --schedule constant > /dev/null 2>&1
    same whole/model.safetensors half/model.safetensors
    rm -r half whole
done
exits 2 mot-train -q -t tok -c nano -o x --objective other --steps 1 a.mot
mot-tokenize -q --learn text=300,image=16,speech=16 --image-size 32 -t codes "$T/files/samples"
for option in '--objective flow' '--unet 8'; do
    fails mot-train -q -t codes -c nano -o x $option --steps 0
    says "${option% *} is for pictures of vectors, and codes has none"
done
absent x
fails mot-train -q --resume -o ddpm --objective flow --steps 9 a.mot
says 'another configuration than --arch, --objective or --unet'
# What the model tells begins at 0, so ddpm's first loss is the noise's own variance.
first=$(sed -n 's/.*"loss_image":\([0-9.]*\).*/\1/p' ddpm.log | head -n 1)
awk "BEGIN { exit !($first > 0.9 && $first < 1.1) }" || wrong "a first loss of $first"

# Scoring does not depend on the order of documents: levels and noise are the pictures' own.
mot-tokenize --dump a.mot > a.jsonl
awk '{ line[NR] = $0 } END { for (i = NR; i > 0; i--) print line[i] }' a.jsonl | mot-tokenize -q --pack -t tok -o b.mot
mot-eval -q ddpm a.mot | sed 's/^a.mot//' > a.tsv
mot-eval -q ddpm b.mot | sed 's/^b.mot//' > b.tsv
same a.tsv b.tsv
equal "$(mot-eval -q --per-token ddpm a.mot | head -n 1 | grep -o null | wc -l | tr -d ' ')" 2 # bos, and what closes the picture
equal "$(awk -F '\t' '$2 == "image" { print $4, $5 }' b.tsv)" '- -'
cp -r ddpm damaged
printf '\377\377\377\377' | dd of=damaged/model.safetensors bs=1 conv=notrunc seek=$(($(wc -c < ddpm/model.safetensors) - 4)) 2> err
fails mot-eval -q damaged a.mot > c.tsv
says 'losses are infinite or no numbers: the weights in damaged'
exits 1 mot-eval -q --context 10 ddpm a.mot > c.tsv
says 'a.mot: document 0: a picture of 4 x 4 tokens does not fit a context of 10'

# A picture is whole, the same whatever the batch and the threads, and another one for another seed.
printf 'a red bus\nthe\nwhere\n' | mot-tokenize -q -t tok -f lines -o p.mot -
generate() { mot-generate -q --force image --max-tokens 40 --steps 4 "$@"; }
for run in ddpm flow; do
    generate --n 2 --batch 1 --threads 1 -o one.mot "$run" p.mot
    generate --n 2 --batch 4 --threads 2 -o many.mot "$run" p.mot
    same one.mot many.mot
    generate --n 2 --seed 1 -o other.mot "$run" p.mot
    cmp -s one.mot other.mot && wrong 'another seed paints the same'
    generate --n 2 --guidance 3 -o guided.mot "$run" p.mot
    cmp -s one.mot guided.mot && wrong 'guidance changes nothing'
    mot-tokenize -q --decode -t tok -o "out-$run" one.mot
    [ "$(find "out-$run" -name '*.png' | wc -l)" -ge 6 ] || wrong 'pictures that are not decoded'
    # ... and documents with pictures can be gone on from.
    mot-generate -q --max-tokens 5 --force text -o more.mot "$run" one.mot
    mot-tokenize -q --check more.mot
    # Texts around pictures are streamed.
    generate --max-tokens 60 --stream --n 2 -o streamed.mot "$run" > stream
    equal "$(tr -d '\n' < stream | od -c)" "$(mot-tokenize -q --decode --skip-special streamed.mot | tr -d '\n' | od -c)"
done
generate --sampler ancestral -o x.mot ddpm p.mot
generate --sampler midpoint -o x.mot flow p.mot
fails mot-generate -q --sampler euler -o y.mot ddpm p.mot
says 'ancestral and ddim'
fails mot-generate -q --sampler ddim -o y.mot flow p.mot
says 'euler and midpoint'
fails mot-generate -q --force image --max-tokens 10 -o y.mot ddpm p.mot
says 'whole segment'
fails mot-generate -q --force image --guidance 1000 --clip 0 --steps 2 -o y.mot ddpm p.mot
says 'document 0: .* grew beyond all bounds: --clip X'
[ ! -e y.mot ] || wrong 'half a shard'

# LMFusion: a text model gets a tower for pictures, which alone is trained; text is to the last bit what it was.
cat "$T"/files/samples/*.txt > text.txt
mot-tokenize -q --learn text=300 -t words text.txt
mot-tokenize -q -t words -f lines -o words.mot text.txt
mot-train -q -c nano -t words -o dense --steps 5 --batch 2 --seq 32 words.mot > /dev/null
mot-convert -q --to mot -t tok dense fused
mot-tokenize -q -t fused -o fused.mot "$T/files/samples"
mot-train -q --init fused -o fusion --freeze '*' --lr-scale '*_image.*=1' --lr-scale '*:image=1' --steps 12 --batch 2 --seq 64 \
    --lr 0.01 fused.mot > fusion.log
equal "$(mot-convert --verify dense fusion | awk '/max_delta_logit/ { print $2 }')" 0
awk -F '"loss_image":' '{ split($2, a, ","); if (NR == 1) first = a[1]; last = a[1] } END { exit !(last < first) }' fusion.log ||
    wrong 'pictures are not learned'

# The same with a U-Net around the pictures, which begins as nothing: its first loss is the noise's own variance too.
train -c nano -o unet --unet 6 --steps 8 --val a.mot --val-every 8 > unet.log
first=$(sed -n 's/.*"loss_image":\([0-9.]*\).*/\1/p' unet.log | head -n 1)
awk "BEGIN { exit !($first > 0.9 && $first < 1.1) }" || wrong "a first loss of $first with a U-Net"
train -c nano -o half --unet 6,1 --steps 8 --save-every 4 > /dev/null
grep -A 4 '"unet"' half/config.json | tr -d ' \n' | grep -q '"channels":6,"blocks":1,"patch_size":8' || wrong 'another U-Net than asked for'
rm -r half
train -c nano -o half --unet 6 --steps 4 --schedule constant > /dev/null
train -c nano -o whole --unet 6 --steps 8 --schedule constant > /dev/null
train --resume -o half --steps 8 --schedule constant > /dev/null 2>&1
same whole/model.safetensors half/model.safetensors
generate --n 2 --batch 1 --threads 1 -o one.mot unet p.mot
generate --n 2 --batch 4 --threads 2 -o many.mot unet p.mot
same one.mot many.mot
mot-tokenize -q --decode -t tok -o out-unet one.mot
mot-eval -q unet one.mot > /dev/null
mot-convert -q --to mot -t tok --unet 4 dense netted
mot-train -q --init netted -o lean --freeze '*' --lr-scale '*_image.*=1' --lr-scale '*:image=1' --steps 2 --batch 2 --seq 64 \
    --lr 0.01 fused.mot > /dev/null
equal "$(mot-convert --verify dense lean | awk '/max_delta_logit/ { print $2 }')" 0
fails mot-train -q -t tok -c nano -o x --unet 6,9 --steps 1 a.mot
says 'CHANNELS,BLOCKS'
# Patches are of as many pixels as the configuration says, where the vocabulary does not.
cp -r tok older
tr -d ' \n' < tok/vocab.json | sed 's/,"patch":8//' > older/vocab.json
fails mot-train -q -t older -c nano -o x --unet 4 --dry-run
says 'a U-Net needs "patch_size"'
echo '{"hidden_size":32,"intermediate_size":96,"num_hidden_layers":2,"num_attention_heads":2,"unet":{"patch_size":8}}' > told.json
mot-train -q -t older -c told.json -o x --unet 4 --dry-run > /dev/null
fails mot-train -q -t older -c told.json -o x --steps 1 a.mot
says 'vocab.json was changed'
fails mot-train -q -t tok -c nano -o x --unet many --steps 1 a.mot
says 'CHANNELS'
fails mot-train -q --init netted -o x --unet 5 --steps 1 fused.mot
says 'another configuration than netted has: mot-convert'
mot-convert -q --to mot --unet 0 unet plain
# A U-Net of as many channels but fewer blocks is a new one as well: it begins as what tells nothing.
mot-convert -q --to mot --unet 6,1 unet fewer
mot-convert -q --to mot --unet 6 unet equal
told() { mot-convert --verify "$@" | awk '$1 == "max_delta_told" { print $2 }'; }
equal "$(told dense fusion)" ''
mot-convert -q --to mot --shard-size 10K unet parts
equal "$(told unet parts)" 0
equal "$(told unet equal)" 0
equal "$(mot-convert --verify fewer fewer | awk '$1 == "max_told" { print $2 }')" 0
equal "$(told --tokens 1 unet parts)" 0
equal "$(mot-convert --verify unet plain | awk '/max_delta_logit/ { print $2 }')" 0
[ "$(told unet plain)" != 0 ] || wrong 'models that tell other things about pictures, and no difference is seen'
grep -q unet plain/config.json && wrong 'a U-Net that was to go'
mot-eval -q plain one.mot > /dev/null
mot-convert -q --to mot --dtype bf16 unet short
mot-eval -q short one.mot > /dev/null
fails mot-convert -q --to hf --unet 5 dense x
says 'only a MoT'
sed 's/"patch_size": 8/"patch_size": 4/' unet/config.json > other.json
fails mot-train -q -t tok -c other.json -o x --steps 1 a.mot
says 'the tokenizer 8'
[ ! -e x ] || wrong 'a run of nothing'
