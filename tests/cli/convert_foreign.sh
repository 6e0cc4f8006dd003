# mot-convert: config.json as transformers and the Hub have it: what means nothing is no obstacle, what changes the function is
# never passed over; BAGEL as it is published, whose config.json leaves out what its code sets; types that lose values.
. "$T/cli.sh"
mot-tokenize -q --learn text=300 -t tok "$T/files/samples"
config() { # MODEL-TYPE [KEY-AND-VALUE...]: config.json of a small model
    echo "{\"model_type\":\"$1\",\"hidden_size\":32,\"intermediate_size\":48,\"num_hidden_layers\":2,\"num_attention_heads\":4,
        \"num_key_value_heads\":2,\"head_dim\":8,\"initializer_range\":0.1,\"max_position_embeddings\":512"
    shift
    for key; do echo ",$key"; done
    echo '}'
}
for type in llama mistral qwen2 qwen3; do
    config $type '"sliding_window":null' > "$type.json"
    mot-train -q -c "$type.json" -t tok -o "$type" --steps 0
done
size='"vocab_size":'$(sed -n 's/.*"vocab_size": \([0-9]*\).*/\1/p' llama/config.json)
takes() { # MODEL-TYPE [KEY-AND-VALUE...]
    config "$@" "$size" > given.json
    mot-convert -q --dry-run --to mot --config given.json "$1" new
}
refuses() { # PATTERN MODEL-TYPE [KEY-AND-VALUE...]
    pattern=$1
    shift
    config "$@" "$size" > given.json
    fails mot-convert --dry-run --to mot --config given.json "$1" new
    says "$pattern"
}

# Windows: Mistral's is in all layers and no key turns it off; Qwen's begins at max_window_layers, or where layer_types says so.
takes mistral '"sliding_window":512'
refuses 'sliding window of 100' mistral '"sliding_window":100' '"use_sliding_window":false'
window='"sliding_window":100,"use_sliding_window":true'
takes qwen2 '"sliding_window":100'
takes qwen2 '"sliding_window":100,"use_sliding_window":false,"max_window_layers":0'
takes qwen2 "$window" # from layer 28 on, which is not there
takes qwen3 "$window" '"max_window_layers":2'
takes qwen3 "$window" '"max_window_layers":0' '"layer_types":["full_attention","full_attention"]'
refuses 'sliding window of 100' qwen2 "$window" '"max_window_layers":1'
refuses 'sliding window of 100' qwen3 "$window" '"layer_types":["full_attention","sliding_attention"]'
refuses 'chunked' llama '"layer_types":["full_attention","chunked_attention"]'

# RoPE in both spellings, which may not contradict each other.
old='"rope_scaling":{"type":"linear","factor":2}'
takes llama "$old" '"rope_theta":5000'
takes llama '"rope_parameters":{"rope_type":"linear","factor":2.0,"rope_theta":5000}'
takes llama "$old" '"rope_theta":5000' '"rope_parameters":{"rope_type":"linear","factor":2.0,"rope_theta":5000}'
takes llama '"rope_scaling":{}' '"rope_parameters":{"rope_type":"linear","factor":2.0}'
refuses 'contradict each other' llama "$old" '"rope_parameters":{"rope_type":"default"}'
refuses 'contradict each other' llama "$old" '"rope_parameters":{"rope_type":"linear","factor":2.0,"rope_theta":5000}'
refuses 'a part of each head (0.5)' llama '"partial_rotary_factor":0.5'
refuses 'a part of each head (0.25)' llama '"rope_parameters":{"rope_type":"default","partial_rotary_factor":0.25}'
for type in yarn dynamic longrope; do
    refuses "$type" llama "\"rope_scaling\":{\"rope_type\":\"$type\",\"factor\":2}"
done

# Other keys.
takes llama '"hidden_act":"swish"' '"max_sequence_length":2048' '"mlp_bias":false' '"quantization_config":null'
for key in quantization_config logit_scale final_logit_softcapping attention_multiplier; do
    refuses "$key" llama "\"$key\":{\"x\":1}"
done
refuses mlp_bias llama '"mlp_bias":true'
awk 'BEGIN { print "\"vocabulary_map\":{"; for (i = 0; i < 65536; i++) printf "    \"<reserved%05d>\": %d,\n", i, i; print "\"<image>\": 8711}" }' > map
takes llama "$(cat map)" # as Chameleon's, of 2 MB

# BAGEL: its pictures have no ids, so the tower for them is kept by giving some, or left out on request; never lost in silence.
config qwen2 '"qk_norm":true' > bagel.json
mot-train -q -c bagel.json -t tok -o dense --steps 0
mot-convert -q --to mot --add-vocab image=4 --init random dense two
mot-convert -q --to bagel --drop-vocab image two bagel
rm bagel/vocab.json # it has none of ours
config qwen2 '"tie_word_embeddings":true' "$size" > bagel/llm_config.json
mot-convert -q --check bagel
fails mot-convert --to mot bagel new
says 'modality "image" has weights, but no ids: give --add-vocab image=COUNT'
mot-convert -q --to mot --add-vocab image=4 bagel both
mot-convert -q --to bagel --drop-vocab image both again
same again/ema.safetensors bagel/ema.safetensors
mot-convert -q --to mot --drop-vocab image bagel text
mot-convert --list text | grep -q 'q_norm' || wrong 'no norms of heads'
equal "$(mot-convert --verify dense text | awk '$1 == "max_delta_logit" { print $2 }')" 0

# The official repository's form has one final norm; a config.json that we write ourselves for such weights need not say so.
post='"norm_placement":"post","qk_norm":true,"num_key_value_heads":4'
echo "{\"hidden_size\":32,\"intermediate_size\":48,\"num_hidden_layers\":2,\"num_attention_heads\":4,$post,
    \"initializer_range\":0.1,\"max_position_embeddings\":512}" > post.json
mot-train -q -c post.json -t tok -o post --steps 0
mot-convert -q --to mot --add-vocab image=4 --init random --untie attn,ffn,attn_norm,qk_norm,ffn_norm post post2
mot-convert -q --to official post2 official
sed "s/{/{\"modalities\":[\"text\",\"image\"],/" post.json > official/config.json
mot-convert -q --to mot official from-official
mot-convert -q post2 plain # whose header is as short as can be
same from-official/model.safetensors plain/model.safetensors

# A delimiter that has a row of the padding goes with its modality, and leaves the row.
mot-convert -q --to mot --add-vocab image=40 llama wide
mot-convert -q --to hf wide padded # rows beyond the tokenizer's ids
cp tok/tokenizer.json padded
mot-convert -q --to mot --add-vocab speech=5 padded heard
grep -q '<|bos_speech|>' heard/tokenizer.json || wrong 'no delimiter'
mot-convert -q --to hf --drop-vocab speech heard back
same back/model.safetensors padded/model.safetensors
[ "$(grep -c '<|bos_speech|>' back/tokenizer.json)" = 0 ] || wrong 'a delimiter is left'

# More tokens than rows.
cp -r llama few
sed 's/"vocab_size": [0-9]*/"vocab_size": 290/' llama/config.json > few/config.json
rm few/vocab.json
fails mot-convert --to mot few new
says 'tokenizer.json has [0-9]* ids, the model rows for 290'

# F16 has no room for large values; what is F64 is copied, not computed.
cp -r llama large
set -- $(mot-convert --list llama | awk '$1 == "model.norm.weight" { print $4 }')
printf '\000\000\200\107' | dd of=large/model.safetensors bs=1 seek="$1" conv=notrunc 2> err # 65536
fails mot-convert --dtype f16 large new
says '"model.norm.weight": 65536 is too large for F16'
mot-convert -q --dtype bf16 large fits
absent new new.tmp-*
