# mot-profile flops: hand-counted parameters and FLOPs in every convention, formats, memory as --dry-run says it, refusals.
. "$T/cli.sh"

value() { # KEY FILE: of flat TSV
    awk -F '\t' -v key="$1" '$1 == key { print $2 }' "$2"
}

# A net small enough to count by hand: 2 layers, hidden 8, 4 query and 2 key/value heads of 6, FFN 10, 100 + 20 ids.
cat > c.json <<'J'
{"hidden_size": 8, "intermediate_size": 10, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
 "head_dim": 6, "vocab_size": 120, "max_position_embeddings": 64, "tie_word_embeddings": false,
 "modalities": ["text", "image"], "towers": ["text", "image"]}
J
mot-profile flops -c c.json --batch 3 --seq 5 --format tsv > t
# A tower: 2 layers of q 24x8, k and v 12x8, o 8x24, gate and up 10x8, down 8x10, two norms of 8; a final norm of 8.
layer=$((24 * 8 + 2 * 12 * 8 + 8 * 24 + 3 * 10 * 8))
tower=$((2 * (layer + 16) + 8))
embedding=$((2 * 120 * 8))
equal "$(value params_total t)" $((embedding + 2 * tower))
equal "$(value params_active t)" $((embedding + tower))
equal "$(value params_embedding t)" $embedding
equal "$(value params_matrices t)" $((embedding + 2 * 2 * layer))
equal "$(value towers.image.params t)" $tower
# 5 tokens see 1, 2, 3, 4, 5 keys: 3 on average; two products of 24 multiply-adds a key and layer.
attention=$((2 * 2 * 2 * 24 * 3))
forward=$((2 * 2 * layer + 2 * 120 * 8 + attention))
equal "$(value forward_flops_per_token t)" $forward
equal "$(value train_flops_per_token t)" $((3 * forward))
equal "$(value train_flops_per_step t)" $((3 * forward * 15))
equal "$(value attention_flops_per_token t)" $attention
equal "$(value attention_flops_per_token_full_square t)" $((2 * 2 * 2 * 24 * 5))
equal "$(value components.attn_qkv.forward_flops_per_token t)" $((2 * 2 * 48 * 8))
equal "$(value components.ffn.backward_flops_per_token t)" $((2 * 2 * 2 * 30 * 8))
# The conventions.
equal "$(value conventions.llm.c t)" $((6 * (embedding + tower) + 6 * 2 * 8 * 5))
equal "$(value conventions.torchtitan t)" $((6 * (120 * 8 + tower) + 12 * 2 * 24 * 5))
equal "$(value conventions.megatron t)" $((3 * (2 * 2 * layer + 2 * 8 * 128 + 2 * 2 * 24 * 5)))
mot-profile flops c.json --batch 3 --seq 5 --format tsv --convention torchtitan > other
equal "$(value train_flops_per_token other)" "$(value conventions.torchtitan t)"
# Tied: the table counts once, and as the head.
sed 's/"tie_word_embeddings": false/"tie_word_embeddings": true/' c.json > tied.json
mot-profile flops tied.json --seq 5 --format tsv > tied
equal "$(value params_total tied)" $((120 * 8 + 2 * tower))
equal "$(value conventions.torchtitan tied)" $((6 * (120 * 8 + tower) + 12 * 2 * 24 * 5))
equal "$(value conventions.llm.c tied)" $((6 * (120 * 8 + tower) + 6 * 2 * 8 * 5))
equal "$(value forward_flops_per_token tied)" $forward
# Documents of 2, 2 and 1 tokens: 3 + 3 + 1 pairs in 5 tokens.
mot-profile flops c.json --seq 5 --document 2 --format tsv > cut
equal "$(awk -v x="$(value attention_flops_per_token cut)" 'BEGIN { print x * 5 }')" $((2 * 2 * 2 * 24 * 7))
# A dense model costs the same a token, whatever the mix; towers share by the mix.
tr -d '\n' < c.json | sed 's/, *"towers.*/}/' > plain.json
mot-profile flops plain.json --batch 3 --seq 5 --arch dense --format tsv > dense
equal "$(value train_flops_per_token dense)" $((3 * forward))
equal "$(value params_total dense)" $((embedding + tower))
mot-profile flops c.json --batch 3 --seq 5 --mix text=3,image=1 --format tsv > mix
equal "$(value modalities.image mix)" 0.25
equal "$(value towers.image.forward_flops_per_token mix)" $((2 * 2 * layer / 4))
equal "$(value train_flops_per_step mix)" $((3 * forward * 15))
# The paper's sizes, and milliseconds for the largest.
equal "$(mot-profile flops chameleon-7b --arch dense --format tsv | awk '$1 == "params_matrices" { print $2 }')" 7012876288
# Memory is what mot-train says.
mot-tokenize -q --learn text=300 -t tok "$T/files/samples"
mot-train -c nano -t tok --dry-run --batch 2 --seq 32 --threads 2 > dry
mot-profile flops -c nano -t tok --batch 2 --seq 32 --threads 2 --format tsv > t
equal "$(value memory.total t)" "$(value bytes_total dry)"
equal "$(value memory.activations t)" "$(value bytes_activations dry)"
equal "$(value train_flops_per_step t)" "$(value flops_per_step dry)"
# So are FLOPs where pictures are vectors, with a U-Net around them: of 4 channels and 1 block a way, patches of 8 x 8 pixels.
mot-tokenize -q --learn text=300 --latent pixels:8 --image-size 16 -t vectors "$T/files/samples"
mot-train -q -c nano -t vectors -o plain --steps 0
mot-train -q -c nano -t vectors -o netted --unet 4,1 --steps 0
for run in plain netted; do
    mot-train -c $run -t vectors --dry-run --batch 2 --seq 32 > dry
    mot-profile flops $run --batch 2 --seq 32 --format tsv > $run.tsv
    equal "$(value train_flops_per_step $run.tsv)" "$(value flops_per_step dry)"
done
hidden=$(sed -n 's/.*"hidden_size": *\([0-9]*\).*/\1/p' netted/config.json)
pixel=$((3 * 9 * 4 + 2 * 2 * 9 * 4 * 4 + 4 * 4 + 9 * 4 * 3))
equal "$(value components.patches.forward_flops_per_token plain.tsv)" $((2 * 2 * hidden * 192 / 2))
equal "$(value components.patches.forward_flops_per_token netted.tsv)" $(((2 * 2 * hidden * 4 * 64 + 2 * 64 * pixel) / 2))
# Every format; JSON is one line that reads back.
for format in table md json jsonl tsv; do
    mot-profile flops chameleon-speech-443m --format $format > out
    [ -s out ] || wrong "--format $format printed nothing"
done
mot-profile flops nano --format json | grep -q '^{.*"params_total":[0-9]*,.*"towers":{"text":{.*"memory":{.*}}$' || wrong "no JSON object"
# Refusals.
exits 2 mot-profile flops
says 'no configuration'
exits 2 mot-profile flips
says 'no such command'
exits 2 mot-profile
says 'no command'
exits 1 mot-profile flops nosuch
says 'nosuch'
exits 2 mot-profile flops nano --mix smell=1
says 'no modality "smell"'
exits 1 mot-profile flops nano --convention mine
says 'convention "mine"'
exits 2 mot-profile flops nano --format xml
says 'expected table'
exits 1 mot-profile flops nano --seq 100000
says 'max_position_embeddings'
