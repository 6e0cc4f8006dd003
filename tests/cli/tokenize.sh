# mot-tokenize on text: learn, bytes through tokens and back, records by format, dump and pack, shards in a row, figures.
. "$T/cli.sh"

cat "$MAN"/*.1 > notes.txt
mot-tokenize -q --learn text=600 -t tok notes.txt
for f in tokenizer.json vocab.json; do [ -s tok/$f ]; done

# Learning again gives the same folder.
mot-tokenize -q --learn text=600 -t twin notes.txt
same tok/tokenizer.json twin/tokenizer.json
same tok/vocab.json twin/vocab.json

# Any bytes come back as they were: text, noise, zeros, broken and strange UTF-8, special tokens written out.
head -c 20000 /dev/urandom > noise
head -c 5000 /dev/zero > zeros
printf 'caf\303\251 \342\202 \355\240\200 \364\220\200\200 \300\200 \360\237\230\200\r\n\t  \n' > odd
printf '<|bos|>a<|eos|><|boi|><|eoi|> <|eos|><|eos|>' > specials
printf '\n' > newline
for f in notes.txt noise zeros odd specials newline; do
    mot-tokenize -q -t tok - < $f | mot-tokenize --decode > back
    same $f back
    mot-tokenize -q -t tok --raw -f text -o raw.mot $f
    mot-tokenize --decode --raw raw.mot > back
    same $f back
    rm -rf dir
    mot-tokenize -q -t tok -f text -o x.mot $f
    mot-tokenize --decode -o dir x.mot
    same $f dir/000000.txt
done

# Around a document: <|bos|> and <|eos|>, or nothing.
first=$(printf 'hello' | mot-tokenize -q -t tok | mot-tokenize --dump)
raw=$(printf 'hello' | mot-tokenize -q -t tok --raw | mot-tokenize --dump)
case $first in '{"segments":[{"modality":"text","ids":[0,'*',1]}],"bytes":5}') ;; *) equal "$first" '[0,..,1], 5 bytes' ;; esac
inner=$(echo "$raw" | sed 's/.*"ids":\[\([^]]*\)\].*/\1/')
equal "$first" "{\"segments\":[{\"modality\":\"text\",\"ids\":[0,$inner,1]}],\"bytes\":5}"

# Records by format: one a file, one a line without its end, one an object.
printf 'one\n\ntwo words\nlast' > l.txt
equal "$(mot-tokenize -q -t tok l.txt | mot-tokenize --dump | wc -l | tr -d ' ')" 1
equal "$(mot-tokenize -q -t tok -f lines l.txt | mot-tokenize --decode -f lines)" "$(printf 'one\ntwo words\nlast')"
equal "$(mot-tokenize -q -t tok -f lines < l.txt | mot-tokenize --dump | sed 's/.*"bytes"://' | tr -d '\n')" '3}9}4}'
printf '{"text":"a\\u00e9\\n"}\n{"segments":[{"text":"x"},{"text":"y z"}]}\n' > j.jsonl
mot-tokenize -q -t tok -o j.mot j.jsonl
printf 'a\303\251\nxy z' > expected
mot-tokenize --decode j.mot > back
same expected back
mot-tokenize -q -t tok -f jsonl - < j.jsonl | cmp - j.mot

# A folder: sorted, whatever the order of creation.
mkdir -p d/b
printf 'second' > d/b/x.txt
printf 'third' > d/c.txt
printf 'first' > d/a.md
equal "$(mot-tokenize -q -t tok d | mot-tokenize --decode -f lines | tr '\n' ' ')" 'first second third '

# Dump and pack are inverses, byte for byte; so with compression.
mot-tokenize -q -t tok -f lines -o n.mot notes.txt
mot-tokenize --dump n.mot > n.jsonl
mot-tokenize --pack -q -t tok < n.jsonl > p.mot
same n.mot p.mot
mot-tokenize --pack -q -t tok -o p.mot n.jsonl
same n.mot p.mot
mot-tokenize -q -t tok -f lines --compress -o z.mot notes.txt
mot-tokenize --dump z.mot | cmp - n.jsonl
[ "$(wc -c < z.mot)" -lt "$(wc -c < n.mot)" ]
mot-tokenize --pack -q --compress -t tok n.jsonl | cmp - z.mot
equal "$(printf '{"bytes":3,"segments":[{"modality":"text","ids":[0]},{"modality":"text","ids":[7,1]}]}\n\n' |
    mot-tokenize --pack -q -t tok | mot-tokenize --dump)" '{"segments":[{"modality":"text","ids":[0,7,1]}],"bytes":3}'
equal "$(mot-tokenize --pack -q -t tok < /dev/null | mot-tokenize --dump)" ''

# Shards in a row are a shard; several are read in turn.
cat n.mot z.mot j.mot > all.mot
cat n.jsonl n.jsonl > expected
mot-tokenize --dump j.mot >> expected
mot-tokenize --dump all.mot > back
same expected back
mot-tokenize --dump n.mot z.mot - < j.mot > back
same expected back

# Figures agree with the dump.
documents=$(wc -l < n.jsonl | tr -d ' ')
tokens=$(sed 's/.*"ids":\[\([^]]*\)\].*/\1/' n.jsonl | tr ',' '\n' | wc -l | tr -d ' ')
bytes=$(sed 's/.*"bytes"://; s/}//' n.jsonl | awk '{ n += $1 } END { print n }')
equal "$bytes" "$(tr -d '\n' < notes.txt | wc -c | tr -d ' ')"
equal "$(mot-tokenize --info n.mot | awk -F '\t' '$2 == "text" { print $3, $5, $6 }')" "$documents $tokens $bytes"
equal "$(mot-tokenize --check n.mot)" "n.mot: good: $documents documents, $tokens tokens"
equal "$(mot-tokenize --check -q n.mot)" ''
mot-tokenize --info --json n.mot | grep -q "\"documents\":$documents,\"tokens\":$tokens,\"bytes\":$bytes,"

# --utf8: bytes that are not UTF-8 are read, and written, as U+FFFD.  --skip-special: without the text of special tokens.
printf 'caf\303\251 \342\202x\377 <|eos|>y' > odd
mot-tokenize -q -t tok --utf8 --raw -f text odd | mot-tokenize --decode --raw > back
printf 'caf\303\251 \357\277\275x\357\277\275 <|eos|>y' > expected
same expected back
mot-tokenize -q -t tok --raw -f text odd | mot-tokenize --decode --raw --utf8 > back
same expected back
mot-tokenize -q -t tok --raw -f text odd | mot-tokenize --decode --raw --utf8 --skip-special > back
printf 'caf\303\251 \357\277\275x\357\277\275 y' > expected
same expected back
