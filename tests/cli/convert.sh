# mot-convert: dense to MoT and back bit for bit, new ids, towers, forms, several files, refusals with all reasons, damage,
# interrupts, a full disk.
. "$T/cli.sh"
mot-tokenize -q --learn text=300 -t tok "$T/files/samples"
mot-tokenize -q --learn image=32 -t codec --image-size 32 "$T"/files/samples/*.png
mot-tokenize -q -t tok -f text -o t.mot "$MAN/mot.7"
echo '{"model_type":"qwen3","hidden_size":32,"intermediate_size":48,"num_hidden_layers":2,"num_attention_heads":4,
    "num_key_value_heads":2,"head_dim":8,"initializer_range":0.1,"max_position_embeddings":512}' > qwen3.json
mot-train -q -c qwen3.json -t tok -o dense --arch dense --steps 3 --batch 2 --seq 32 t.mot > log
convert() { mot-convert -q "$@"; }
delta() { mot-convert --verify "$@" | awk '$1 == "max_delta_logit" { print $2 }'; }
towers() { mot-convert --list "$1" | awk 'NR > 1 { n[$6]++ } END { for (t in n) print t, n[t] }' | sort | tr '\n' ' '; }

# A copy for pictures: the same logits, before and after training its tower as the program says to.
mot-convert --to mot -t codec --new-rows normal dense mot 2> err
says "mot-train --init mot -o RUN --freeze '\*' --lr-scale '\*_image.\*=1' --lr-scale '\*:image=1' SHARD"
equal "$(delta dense mot)" 0
# Data begin at the same place in a page as there, so that the system can copy pages or share them.
begin() { mot-convert --list "$1" | awk 'NR > 1 && (!n || $4 < n) { n = $4 } END { print n % 4096 }'; }
equal "$(begin mot)" "$(begin dense)"
mot-tokenize -q -t mot -o p.mot "$T"/files/samples/*.png
mot-tokenize -q -t mot -f text -o t2.mot "$MAN/mot.7"
mot-train -q --init mot -o run --freeze '*' --lr-scale '*_image.*=1' --lr-scale '*:image=1' --steps 3 --batch 2 --seq 32 p.mot > log
equal "$(delta dense run)" 0
[ "$(delta mot run)" != 0 ] || wrong 'the tower for pictures was not trained'
mot-train -q --init mot -o tower --freeze '*' --lr-scale '*_image.*=1' --steps 3 --batch 2 --seq 32 p.mot > log
mot-eval --per-token mot t2.mot > before
mot-eval --per-token tower t2.mot > after # without the rows of pictures even what is left to them of the probability is the same
same before after
convert --to hf --drop-vocab image run back
same back/model.safetensors dense/model.safetensors
equal "$(grep -c 'modalities\|qk_norm' back/config.json)" 0
[ "$(grep -c '<|boi|>' mot/tokenizer.json)$(grep -c '<|boi|>' back/tokenizer.json)" = 10 ] || wrong 'the delimiter in tokenizer.json'
# The tower for pictures as a dense model is another one.
convert --to hf --tower image --drop-vocab image run image
equal "$(delta image back | cut -c1-2)" 0.
# A vocabulary of the same ids: nll is the same to the last bit, too.
convert --to mot dense plain
mot-eval --per-token dense t.mot > before
mot-eval --per-token plain t.mot > after
same before after

# Ids: appended in order, delimiters where there is room; ids without a codec.
convert --to mot --modalities text,speech,image --add-vocab image=5,speech=7 dense ids
text=$(sed 's/.*"text","first":0,"size":\([0-9]*\).*/\1/' ids/vocab.json)
equal "$(sed 's/,"special".*//' ids/vocab.json)" \
    "{\"version\":1,\"modalities\":[{\"name\":\"text\",\"first\":0,\"size\":$text},{\"name\":\"speech\",\"first\":$text,\"size\":7},{\"name\":\"image\",\"first\":$((text + 7)),\"size\":5}]"
echo "{\"segments\":[{\"modality\":\"image\",\"ids\":[$((text + 7)),$((text + 11))]}],\"bytes\":0}" | mot-tokenize -q --pack -t ids -o ids.mot
mot-eval ids ids.mot > out
mot-tokenize -q -t ids -f text -o out "$MAN/mot.7"
sed 's/"vocab_size": [0-9]*/"vocab_size": 320/' dense/config.json > padded.json
convert --to mot --add-vocab image=20 dense once
convert --to hf once padded # rows beyond the tokenizer's ids, as many a model has them
convert --to mot --add-vocab image=5 padded again
equal "$(sed 's/.*"boi":\([0-9]*\).*/\1/' again/vocab.json)" "$(sed 's/.*"boi":\([0-9]*\).*/\1/' once/vocab.json)"
equal "$(delta padded again)" 0
# Rows: zero, and the mean with noise.
rows() { mot-convert --list "$1" | awk '$1 == "model.embed_tokens.weight" { print $3 }'; }
equal "$(rows ids)" $((text + 12))x32
for how in zero mean normal; do
    convert --to mot --add-vocab image=4 --new-rows $how dense rows-$how
    equal "$(delta dense rows-$how)" 0
done
tail_of() { # FOLDER: the last two rows of the embedding
    set -- $(mot-convert --list "$1" | awk '$1 == "model.embed_tokens.weight" { print $4 + $5 - 256, $7 }')
    tail -c +$(($1 + 1)) "$2" | head -c 256 | od -An -v -tx1 | tr -d ' \n'
}
equal "$(tail_of rows-zero | tr -d 0)" ''
[ "$(tail_of rows-mean)" != "$(tail_of rows-normal)" ] || wrong 'mean and normal make the same rows'

# Towers: shared components, random ones, copies of another tower, a third tower for a MoT.
convert --to mot --add-vocab image=4 --untie ffn dense ffn
equal "$(towers ffn)" '- 2 image 6 text 23 '
convert --to mot --add-vocab image=4 --untie attn,norm dense rest
equal "$(towers rest)" '- 2 image 17 text 23 '
mot-convert --to mot --add-vocab image=4 --untie attn dense attn 2> err
says "--freeze '\*' --lr-scale '\*_image.\*=1' --lr-scale '\*:image=1' SHARD"
equal "$(delta ffn rest | cut -c1)" 0
convert --to mot --add-vocab image=4 --init random dense random
equal "$(towers random)" '- 2 image 23 text 23 '
equal "$(delta dense random)" 0
convert --to hf --tower image --drop-vocab image random other
[ "$(delta dense other)" != 0 ] || wrong 'the random tower is a copy'
convert --to mot --add-vocab speech=4 --copy image run three
convert --to hf --tower speech --drop-vocab speech,image three speech
same speech/model.safetensors image/model.safetensors
convert --to mot --drop-vocab speech three two
same two/model.safetensors run/model.safetensors

# A dense model of several modalities stays dense, unless it is to become a MoT.
mot-train -q -c qwen3.json -t mot -o both --arch dense --steps 0
convert --dtype bf16 both both16
equal "$(towers both16)" '- 2 text 23 '
convert --to mot both apart
equal "$(towers apart)" '- 2 image 23 text 23 '
equal "$(delta both apart)" 0

# Other forms and back. BAGEL has biases, which are zero.
for form in bagel kempner; do
    convert --to $form run $form
    equal "$(delta run $form)" 0
    convert --to mot $form from-$form
    equal "$(delta run from-$form)" 0
    mot-convert -q --check $form from-$form
done
same run/model.safetensors from-kempner/model.safetensors
# Tensors that are no part of the language model: listed as offenders, left out, or kept for the way back.
convert --to bagel from-bagel bagel-again
same bagel/ema.safetensors bagel-again/ema.safetensors
convert --to bagel --keep-extra '*' run vision # nothing more to keep
same vision/ema.safetensors bagel/ema.safetensors
other_names() { sed 's/language_model.model.layers.1./vit_model_xx.encoder.layers.1./g' "$1"; } # as long as before: the header stays whole
LC_ALL=C other_names bagel/ema.safetensors > vision/ema.safetensors
sed 's/"num_hidden_layers": 2/"num_hidden_layers": 1/' bagel/llm_config.json > vision/llm_config.json
fails mot-convert --to mot vision new
equal "$(grep -c 'vit_model_xx.*--keep-extra takes it along' err)" 28
cp -r vision known
LC_ALL=C sed 's/vit_model_xx.encoder.layers.1./vit_model.encoder.layers_xxx1./g' vision/ema.safetensors > known/ema.safetensors
fails mot-convert --to mot known new # of models that are known to be kept along, one line a model
equal "$(wc -l < err | tr -d ' ')" 1
says '28 tensors "vit_model.\*" are BAGEL'
mot-convert -q --check known # they are no fault of the folder
convert --to mot --allow-extra 'vit_model.*' known blind
rm -r blind
convert --to mot --allow-extra 'vit_model_*' vision blind
convert --to mot --keep-extra 'vit_model_*' vision seeing
same blind/model.safetensors seeing/model.safetensors
mot-eval seeing t2.mot > out
convert --shard-size 20K seeing seeing2
same seeing/extra.safetensors seeing2/extra.safetensors
convert --to bagel seeing2 vision2
mot-convert --list vision | cut -f 1-3 | sort > before
mot-convert --list vision2 | cut -f 1-3 | sort > after
same before after
equal "$(mot-convert --list bagel | grep -c '^language_model.model.layers.*_moe_gen')" 28
sed 's/"model_type"/"norm_placement":"post","attention_bias":false,"num_key_value_heads":4,"model_type"/; s/"num_key_value_heads":2,//' qwen3.json > post.json
mot-train -q -c post.json -t tok -o post --arch dense --steps 0
convert --to mot --add-vocab image=4 --untie ffn,attn,attn_norm,qk_norm,ffn_norm post post-mot
convert --to official post-mot official
mot-convert --list official | grep -q '^layers.1.feed_forward.local_experts.1.w2.weight' || wrong 'the official names'
convert --to mot official from-official
equal "$(delta post-mot from-official)" 0
equal "$(delta post-mot official)" 0
fails mot-convert --to hf post nohf
says 'norm_placement'

# Several files, types, and the way back; the whole of a folder that is all right.
convert --shard-size 20K run parts
equal "$(find parts -name 'model-*-of-*.safetensors' | wc -l | tr -d ' ')" "$(grep -o 'of-[0-9]*' parts/model.safetensors.index.json | head -n 1 | sed 's/of-0*//')"
mot-eval --per-token parts t2.mot > after
mot-eval --per-token run t2.mot > before.run
same before.run after
convert parts whole
same whole/model.safetensors run/model.safetensors
convert --dtype bf16 run bf16
convert --dtype f32 bf16 wide
convert --dtype bf16 wide narrow
same narrow/model.safetensors bf16/model.safetensors
convert --dtype f16 run f16
mot-convert --list f16 | awk 'NR > 1 && $2 != "F16" { exit 1 }' || wrong 'not all are F16'
for folder in run parts bf16 f16 dense/model.safetensors; do mot-convert -q --check $folder; done
# The offsets of --list are where the bytes are.
set -- $(mot-convert --list run | awk '$1 == "model.norm_image.weight" { print $4, $5 }')
tail -c +$(($1 + 1)) run/model.safetensors | head -c "$2" | od -An -tf4 | awk '{ for (i = 1; i <= NF; i++) if ($i < 0.5 || $i > 2) exit 1 }'

# Nothing is passed over: all offenders at once, each in a line; nothing is written.
refused() { # LINES COMMAND...
    lines=$1
    shift
    fails "$@"
    equal "$(wc -l < err | tr -d ' ')" "$lines"
}
cp -r run odd
sed 's/"model_type"/"logit_scale": 2, "embedding_multiplier": 12, "model_type"/' run/config.json > odd/config.json
refused 2 mot-convert odd new
says 'logit_scale'
says 'embedding_multiplier'
refused 2 mot-convert --check odd
convert --allow-extra logit_scale --allow-extra 'embedding_*' odd allowed
same allowed/model.safetensors run/model.safetensors
sed 's/"num_hidden_layers": 2/"num_hidden_layers": 3/' run/config.json > odd/config.json
refused 22 mot-convert odd new
says 'tensor "model.layers.2.mlp_image.up_proj.weight" is missing'
sed 's/"num_hidden_layers": 2/"num_hidden_layers": 1/' run/config.json > odd/config.json
refused 22 mot-convert odd new
says 'tensor "model.layers.1.mlp_image.up_proj.weight" is not part of the model; --allow-extra'
mot-convert -q --allow-extra 'model.layers.1.*' odd shallow
cp -r dense odd3
sed 's/"num_hidden_layers": 2/"num_hidden_layers": 3/' dense/config.json > odd3/config.json
refused 11 mot-convert --to mot --add-vocab image=4,speech=4 odd3 new # a line a tensor, however many towers are made of it
sed 's/"intermediate_size": 48/"intermediate_size": 47/' run/config.json > odd/config.json
refused 12 mot-convert odd new
says 'asks for 47 x 32'
sed 's/"tie_word_embeddings": false/"tie_word_embeddings": true/' run/config.json > odd/config.json
refused 1 mot-convert odd new
says '"lm_head.weight" and "model.embed_tokens.weight" differ'
for type in gpt2 gemma3_text mixtral; do
    sed "s/\"qwen3\"/\"$type\"/" run/config.json > odd/config.json
    refused 1 mot-convert odd new
    says "\"$type\" is another function"
done
sed 's/"rope_scaling": null/"rope_scaling": {"rope_type": "yarn", "factor": 2}/' run/config.json > odd/config.json
refused 1 mot-convert odd new
says 'yarn'
sed 's/"model_type": "qwen3"/"model_type": "mistral", "sliding_window": 100/' run/config.json > odd/config.json
refused 1 mot-convert odd new
says 'sliding window of 100'
absent new
for options in '--add-vocab image' '--add-vocab image=0' '--add-vocab text=5' '--modalities text,image' '--modalities image,text' \
    '--add-vocab image=4 --modalities text' '--untie wings' '--copy image' '--to foo' '--dtype f8' '--to hf --tower image'; do
    fails mot-convert --to mot $options dense new
done
for options in '--new-rows huge' '--init copy' '--init random=' '--shard-size 0' '--list --check'; do
    exits 2 mot-convert $options dense new
done
fails mot-convert dense run
says 'exists already'
fails mot-convert dense nowhere/new
says 'cannot create'
fails mot-convert dense ''
says 'needs a name'
fails mot-convert dense/config.json new
says 'a file, expected a folder'
mkdir pickled
cp dense/config.json pickled
fails mot-convert pickled new
says 'no weights: neither model.safetensors'
: > pickled/pytorch_model.bin
fails mot-convert pickled new
says 'pickled (pytorch_model.bin)'
rm pickled/pytorch_model.bin
mkfifo pickled/model.safetensors
fails mot-convert pickled new # and does not wait for a writer
says 'not a regular file'
# Options that would be passed over in silence.
for options in '--to mot --drop-vocab wings' '--to mot --drop-vocab text' '--to mot --add-vocab wi/ngs=4' '--to hf --untie ffn' \
    '--to mot --add-vocab image=4 --init random=wings' '--to mot --add-vocab image=4,image=5' '--to mot --tower text' '--to hf --copy text'; do
    fails mot-convert $options dense new
done
fails mot-convert --to mot --init random=image run new
says 'has a tower in run'
fails mot-convert --config dense/config.json tok new
convert --dry-run --to mot --add-vocab image=4 dense new
absent new

# An index of other people's paths, of tensors that are elsewhere, twice or nowhere.
index() { # SED-SCRIPT: what is said of the index changed so
    rm -rf odd
    cp -r parts odd
    sed "$1" parts/model.safetensors.index.json > odd/model.safetensors.index.json
    fails mot-convert --check odd
    fails mot-eval odd t2.mot
}
for name in '../run/model.safetensors' "$PWD/run/model.safetensors" '.hidden' '' 'a\\\\b'; do
    index "s|model-00002-of-[0-9]*.safetensors|$name|"
    says 'no plain file name'
done
index 's/model-00002-/model-00003-/'
says 'is not in model-00003-'
index '/"model.norm.weight"/d'
says 'not in the index'
index 's/model-00001-/model-00000-/'
says 'model-00000-'
index '1,/{/s/{/{"weight_map": {},/'
says 'duplicate'
head -c 100 run/model.safetensors > cut.safetensors
fails mot-convert --check cut.safetensors
fails mot-convert --list cut.safetensors
# Values that are no numbers.
cp -r run odd2
set -- $(mot-convert --list run | awk '$1 == "model.norm.weight" { print $4 }')
printf '\000\000\300\177' | dd of=odd2/model.safetensors bs=1 seek="$1" conv=notrunc 2> err
refused 1 mot-convert --check odd2
says '"model.norm.weight": 1 of 32 values are not finite'

# A foreign vocab.json, of tokens, is no vocabulary of ours.
cp -r back qwen
echo '{"a": 0, "b": 1}' > qwen/vocab.json
mot-tokenize -q -t qwen -f text -o q.mot "$MAN/mot.7"
convert --to mot -t codec qwen from-qwen
same from-qwen/vocab.json mot/vocab.json

# Stopped at any moment nothing is left; a model of zeros, large enough to be met at work, most of it a hole in its file.
sparse() { # FOLDER WIDTH FFN
    mkdir "$1"
    echo "{\"model_type\":\"llama\",\"hidden_size\":$2,\"intermediate_size\":$3,\"num_hidden_layers\":1,\"num_attention_heads\":2,
        \"head_dim\":2,\"vocab_size\":4,\"tie_word_embeddings\":true}" > "$1/config.json"
    awk -v c="$2" -v f="$3" -v F="$1/model.safetensors" 'function put(name, shape, n) {
            h = h sprintf("%s\"model.%s.weight\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%.0f,%.0f]}", h ? "," : "{", name, shape, at, at + 4 * n)
            at += 4 * n
        } BEGIN {
            put("embed_tokens", 4 "," c, 4 * c); put("norm", c, c); l = "layers.0."
            put(l "self_attn.q_proj", 4 "," c, 4 * c); put(l "self_attn.k_proj", 4 "," c, 4 * c); put(l "self_attn.v_proj", 4 "," c, 4 * c)
            put(l "self_attn.o_proj", c ",4", 4 * c); put(l "mlp.gate_proj", f "," c, f * c); put(l "mlp.up_proj", f "," c, f * c)
            put(l "mlp.down_proj", c "," f, f * c); put(l "input_layernorm", c, c); put(l "post_attention_layernorm", c, c)
            h = h "}"; while (length(h) % 8) h = h " "
            n = length(h); printf "%c%c", n % 256, int(n / 256) > F; for (i = 0; i < 6; i++) printf "%c", 0 > F; printf "%s", h > F
            printf "%.0f\n", 8 + n + at
        }' > size
    truncate -s "$(cat size)" "$1/model.safetensors"
}
LC_ALL=C sparse zeros 1024 30000
stop_at_work() { # SIGNAL: sets $status
    mot-convert -q --dtype bf16 zeros stopped 2> stop.err &
    pid=$!
    while kill -0 $pid 2> err && ! ls stopped.tmp-*/model.safetensors.tmp-* > /dev/null 2>&1; do :; done
    kill -$1 $pid 2> err || true
    status=0
    wait $pid || status=$?
}
for signal in TERM INT HUP KILL; do
    arrives $signal || continue
    for try in 1 2 3 4 5; do
        stop_at_work $signal
        [ -e stopped ] && [ $try -lt 5 ] || break # it was in place before the signal came
        mot-convert -q --check stopped
        rm -rf stopped
    done
    absent stopped
    [ $signal = KILL ] || absent stopped.tmp-*
    [ $signal != KILL ] || convert dense stopped # which removes what the killed one left
    absent stopped.tmp-*
    [ $signal = INT ] || [ $status -gt 128 ] || wrong "$signal: exit $status: $(cat stop.err)" # a shell's & ignores INT
    rm -rf stopped
done
# More than the disk has is refused beforehand; a disk that fills up leaves nothing.
if LC_ALL=C sparse vast 1048576 262144 2> err; then
    fails mot-convert vast new
    says 'the disk has'
fi
(
    ulimit -f 100
    fails mot-convert -q zeros new
    says 'cannot write'
    fails mot-convert -q --dtype bf16 zeros new
    says 'cannot write'
)
absent new new.tmp-*
