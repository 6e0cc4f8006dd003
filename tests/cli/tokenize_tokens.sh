# mot-tokenize with tokens of other programs: shards to llm.c's files and back, Megatron's read, what is refused.
. "$T/cli.sh"
cat "$MAN"/*.1 | grep -v '<|' > notes.txt
mot-tokenize -q --learn text=600 -t tok notes.txt
mot-tokenize -q -t tok -f lines -o n.mot notes.txt

# There and back, with all that a shard knows; both widths, one file or several.
for form in llmc llmc-u16 llmc-u32; do
    mot-tokenize -q --export $form -o n.bin n.mot
    mot-tokenize -q -t tok n.bin | cmp - n.mot
    mot-tokenize -q --export $form --shard-size 8K -o p.bin n.mot
    [ "$(ls p-*.bin | wc -l)" -gt 2 ]
    for f in p-*.bin; do [ "$(wc -c < $f)" -le 8192 ]; done
    mot-tokenize -q -t tok p-*.bin | cmp - n.mot
    mkdir $form
    mv p-*.bin $form
    mot-tokenize -q -t tok $form | cmp - n.mot # a folder of them
done
size=$(wc -c < n.bin)
equal "$(od -An -tu4 -N 12 n.bin | tr -s ' ')" " 20240801 7 $(((size - 1024) / 4))"
mot-tokenize -q --export llmc -o n.bin - < n.mot
equal "$(od -An -tu4 -N 8 n.bin | tr -s ' ')" ' 20240520 1'
mot-tokenize -q --export llmc -o two.bin n.mot n.mot
equal "$(mot-tokenize -q -t tok two.bin | mot-tokenize --dump | wc -l)" "$(($(mot-tokenize --dump n.mot | wc -l) * 2))"

# A separator that the author wrote makes two of one.
printf 'a<|eos|>b' | mot-tokenize -q -t tok -o e.mot
mot-tokenize -q --export llmc -o e.bin e.mot 2> err
says '1 documents have the separator in them'
equal "$(mot-tokenize -q -t tok e.bin | mot-tokenize --decode -f lines | tr '\n' ' ')" 'a b '

# Samples of three modalities too: ids are ids.
mot-tokenize -q --learn text=300,image=32,speech=16 -t all --image-size 32 "$T/files/samples"
mot-tokenize -q -t all -o s.mot "$T/files/samples"
mot-tokenize -q --export llmc -o s.bin s.mot
mot-tokenize -q -t all s.bin | cmp - s.mot

# Megatron: [10 20 30][40] and [50], as two documents.
le() { # BYTES NUMBER...
    width=$1
    shift
    for n; do
        i=0
        while [ $i -lt "$width" ]; do printf "\\$(printf %03o $((n >> 8 * i & 255)))"; i=$((i + 1)); done
    done
}
{ printf 'MMIDIDX\0\0'; le 8 1; le 1 8; le 8 3 3; le 4 3 1 1; le 8 0 6 8; le 8 0 2 3; } > m.idx
le 2 10 20 30 40 50 > m.bin
for name in m.bin m.idx "m.bin m.idx"; do
    # shellcheck disable=SC2086
    equal "$(mot-tokenize -q -t tok --raw $name | mot-tokenize --dump | sed 's/.*"ids":\(\[[0-9,]*\]\).*/\1/' | tr '\n' ' ')" '[10,20,30,40] [50] '
done
equal "$(mot-tokenize -q -t tok m.bin | mot-tokenize --dump | sed 's/.*"ids":\(\[[0-9,]*\]\).*/\1/' | tr '\n' ' ')" '[0,10,20,30,40,1] [0,50,1] '

# What is refused: skipped by name, an error with --strict.
le 2 10 20 30 40 > m.bin
mot-tokenize -t tok -o m.mot m.bin 2> err
says 'skipped: m.idx: damaged, or of another .bin: sequence 2 '
le 2 10 20 30 40 900 > m.bin
fails mot-tokenize -t tok --strict -o x.mot m.bin
says 'm.bin: document 1: id 900 at byte 8, the vocabulary has 0..599'
absent x.mot
head -c 2000 n.bin > cut.bin
fails mot-tokenize -t tok -o x.mot cut.bin
says 'cut.bin: truncated: its header says'
cp notes.txt text.bin
fails mot-tokenize -t tok -o x.mot text.bin
says 'neither a file of llm.c'
fails mot-tokenize -t tok -f tokens -o x.mot - < n.bin
says 'from disk'
fails mot-tokenize --export llmc -o x.bin notes.txt
absent x.bin
fails mot-tokenize --export llmc-u16 -o nothere/x.bin n.mot
says 'nothere/x.bin: cannot create'
exits 2 mot-tokenize --export llmc n.mot
exits 2 mot-tokenize --export bin -o x.bin n.mot
exits 2 mot-tokenize --export llmc --dump -o x.bin n.mot
if [ -w /dev/full ]; then
    fails mot-tokenize -q --export llmc -o /dev/full n.mot
    says '/dev/full: cannot write'
fi
