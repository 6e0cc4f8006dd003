# mot-generate: the same whatever the batch and the threads, whole pictures, forced segments, prompts from a pipe, streaming,
# refusals.
. "$T/cli.sh"
mot-tokenize -q --learn text=300,image=32,speech=16 -t tok --image-size 32 "$T/files/samples"
mot-tokenize -q -t tok -o a.mot "$T/files/samples"
mot-train -q -c nano -t tok -o run --steps 40 --batch 2 --seq 48 --threads 2 a.mot > log
printf 'a red bus\nthe\n\nwhere\n' > lines
mot-tokenize -q -t run -f lines -o p.mot lines
generate() { mot-generate -q "$@"; }

# Neither batch nor threads change what is drawn; another seed does.
generate --n 3 --seed 4 -o one.mot --batch 1 --threads 1 run p.mot
generate --n 3 --seed 4 -o many.mot --batch 5 --threads 2 run p.mot
same one.mot many.mot
generate --n 3 --seed 5 -o other.mot run p.mot
cmp -s one.mot other.mot && wrong 'another seed draws the same'
equal "$(mot-tokenize --dump one.mot | wc -l | tr -d ' ')" 9
# Documents go on from their prompts, whose end is left off.
mot-tokenize --dump p.mot | sed -n 's/.*"ids":\[\([0-9,]*\),1\]}\],.*/\1/p' > prompts
mot-tokenize --dump one.mot | awk 'NR % 3 == 1' > first
paste -d '|' prompts first | while IFS='|' read -r prompt document; do
    case $document in *"\"ids\":[$prompt,"*) ;; *) wrong "$document does not go on from $prompt" ;; esac
done
# What is most probable is what mot-eval finds most probable: nothing else in the place has a lower loss.
generate --temperature 0 --max-tokens 6 -o greedy.mot run p.mot
generate --temperature 0 --max-tokens 6 --top-k 1 --seed 9 -o greedy2.mot run p.mot
same greedy.mot greedy2.mot
generate --top-k 1 --max-tokens 6 -o greedy3.mot run p.mot
same greedy.mot greedy3.mot

# Pictures are whole: 16 codes between their delimiters, and none begins that would not fit.
generate --force image --max-tokens 40 --temperature image=2,text=0.5 --guidance 3 -o pictures.mot --n 4 run p.mot
generate --force image --max-tokens 40 --temperature image=2,text=0.5 --guidance 3 -o pictures2.mot --n 4 --batch 1 run p.mot
same pictures.mot pictures2.mot
mot-tokenize --dump pictures.mot | grep -o '"image","ids":\[[0-9,]*\]' > images
[ "$(wc -l < images)" -ge 12 ] || wrong 'a document without its picture'
equal "$(awk -F, '{ print NF - 1 }' images | sort -u)" 16
mot-tokenize -q --decode -t run -o out pictures.mot
[ "$(find out -name '*.png' | wc -l)" -ge 12 ] || wrong 'pictures that are not decoded'
generate --force speech --max-tokens 20 -o sounds.mot run p.mot
equal "$(mot-tokenize --dump sounds.mot | grep -c '"speech"')" 3
mot-tokenize --dump sounds.mot | grep -o '"speech","ids":\[[0-9,]*\]' | awk -F, 'NF > 20 { exit 1 }' || wrong 'a sound beyond --max-tokens'
generate --force text --max-tokens 5 -o texts.mot run p.mot
# What a prompt ends in comes to its end, and the forced segment, for which room is kept, behind it: delimiters are 2 to 5.
pack() { echo "{\"segments\":[$1],\"bytes\":1}" | mot-tokenize -q --pack -t run -o open.mot; }
boi='{"modality":"text","ids":[0,9,2]}' bos_speech='{"modality":"text","ids":[0,9,4]}'
pack "$boi,{\"modality\":\"image\",\"ids\":[301,302]}"
for kind in text image speech; do
    generate --force $kind --max-tokens 40 -o "open-$kind.mot" run open.mot
    equal "$(mot-tokenize --dump "open-$kind.mot" | grep -o '"image","ids":\[301,302,[0-9,]*\]' | tr ',' '\n' | wc -l | tr -d ' ')" 17
done
mot-tokenize --dump open-speech.mot | grep -q '{"modality":"text","ids":\[3,4\]},{"modality":"speech"' || wrong 'no forced sound behind the picture'
mot-tokenize --dump open-text.mot | grep -q '{"modality":"text","ids":\[3,\([6-9]\|[0-9][0-9]\)' || wrong 'no forced text behind the picture'
pack "$bos_speech"
for seed in 1 2 3; do
    generate --force image --max-tokens 20 --seed $seed -o open-image.mot run open.mot
    equal "$(mot-tokenize --dump open-image.mot | grep -o '{"modality":"text","ids":\[5,2\]},{"modality":"image"' | wc -l | tr -d ' ')" 1
done
generate --max-tokens 2 -o sound.mot run open.mot
mot-tokenize --dump sound.mot | grep -q '"ids":\[5\]' || wrong 'a sound without an end'
fails mot-generate --max-tokens 1 -o x2.mot run open.mot
says 'the 2 that whole segments take'
fails mot-generate --force image --max-tokens 19 -o x2.mot run open.mot
says 'the 20 that whole segments take'
# In a pipe, from nothing, and as text alone.
mot-tokenize -q -t run -f lines - < lines | generate --seed 4 --n 3 run - | cmp - one.mot
generate --max-tokens 9 run > nothing.mot
equal "$(mot-tokenize --dump nothing.mot | wc -l | tr -d ' ')" 1
generate --force text --temperature 0 --max-tokens 12 --stream -o streamed.mot run p.mot > stream
generate --force text --temperature 0 --max-tokens 12 -o whole.mot run p.mot
same streamed.mot whole.mot
[ "$(wc -l < stream)" -ge 3 ] || wrong 'a line for each document'
# What is streamed is the text of what is written, to the byte, where texts end within a character too.
for seed in 1 2 3 4 5 6; do
    generate --n 3 --seed $seed --max-tokens 150 --stream -o streamed.mot run > stream
    equal "$(tr -d '\n' < stream | od -c)" "$(mot-tokenize -q --decode --skip-special streamed.mot | tr -d '\n' | od -c)"
done
mot-generate --max-tokens 9 -o x.mot run 2> err
says 'tokens/s'

# Checkpoints of chats name further tokens that end a document: as a list or a number, in either file.
new() { mot-tokenize --dump "$1" | sed -n "s/.*\"ids\":\[$(head -n 1 prompts),\([0-9,]*\).*/\1/p" | head -n 1; }
generate --temperature 0 --max-tokens 6 --force text -o greedy.mot run p.mot
second=$(new greedy.mot | cut -d , -f 2)
cp -r run chat
echo "{\"eos_token_id\":[1,$second,99999,null]}" > chat/generation_config.json
generate --temperature 0 --max-tokens 6 --force text -o chat.mot chat p.mot
equal "$(new chat.mot)" "$(new greedy.mot | cut -d , -f 1,2)"
rm chat/generation_config.json
sed "s/^{/{\"eos_token_id\":$second,/" run/config.json > chat/config.json
generate --temperature 0 --max-tokens 6 --force text -o chat2.mot chat p.mot
same chat.mot chat2.mot
sed "s/^{/{\"vocabulary_map\":{\"IMGIMGA\":$second,\"other\":7},/" run/config.json > chat/config.json # Chameleon's picture codes
generate --temperature 0 --max-tokens 6 --force text -o codes.mot chat p.mot
equal "$(new codes.mot | tr ',' '\n' | grep -c "^$second$" || :)" 0
equal "$(new codes.mot | cut -d , -f 1)" "$(new greedy.mot | cut -d , -f 1)"
echo '{"eos_token_id":' > chat/generation_config.json
fails mot-generate -o x2.mot chat p.mot
says 'chat/generation_config.json'

# Prompts that cannot be gone on from.
mot-tokenize -q --learn text=280 -t tok2 "$T/files/samples"
mot-tokenize -q -t tok2 -f lines -o wrong.mot lines
fails mot-generate -o x2.mot run wrong.mot
says 'vocabulary'
head -c 100 p.mot > cut.mot
fails mot-generate -o x2.mot run cut.mot
fails mot-generate -o x2.mot run lines
echo | mot-tokenize -q -t run -f lines -o empty.mot -
fails mot-generate -o x2.mot run empty.mot
says 'empty.mot: no documents in it'
fails mot-generate -o x2.mot run nowhere.mot
fails mot-generate -o x2.mot nowhere p.mot
yes 'a word and ' | head -n 2000 | tr -d '\n' > long
mot-tokenize -q -t run -f text -o long.mot long
fails mot-generate -o x2.mot run long.mot
says 'long.mot: document 0: .*context'
exits 1 mot-generate -q -o x2.mot run - < long.mot
says 'standard input: document 0: '
fails mot-generate --force image --max-tokens 10 -o x2.mot run p.mot
says 'max-tokens'
exits 2 mot-generate --force wings -o x2.mot run p.mot
fails mot-generate --force image --image-tokens 9 -o x2.mot run p.mot
says "its codec's pictures have 16 tokens, not 9"
cp -r run bare && rm bare/image.safetensors
fails mot-generate --force image -o x2.mot bare p.mot
says 'give --image-tokens'
says 'a file was changed or removed'
generate --force image --image-tokens 9 --max-tokens 11 -o nine.mot bare p.mot 2> err
says 'bytes are not counted: .*a file was changed or removed'
equal "$(mot-tokenize --dump nine.mot | grep -o '"image","ids":\[[0-9,]*\]' | awk -F, '{ print NF - 1 }' | sort -u)" 9
echo '{"segments":[{"modality":"image","ids":[301]},{"modality":"text","ids":[5]}],"bytes":1}' | mot-tokenize -q --pack -t run -o odd.mot
fails mot-generate -o x2.mot run odd.mot
says 'odd.mot: document 0, token 0: a token of a picture or sound that nothing has begun'
mot-tokenize -q -t run --raw -f text -o raw.mot "$T/files/samples/000.txt"
generate -o raw2.mot --max-tokens 3 run raw.mot
for options in '--top-p 2' '--temperature -1' '--temperature wings=1' '--n 0' '--batch 0' '--max-tokens 0' '--temperature image'; do
    exits 2 mot-generate $options -o x2.mot run p.mot
done
exits 2 mot-generate
exits 2 mot-generate run p.mot p.mot
absent x2.mot x2.mot.tmp-*
