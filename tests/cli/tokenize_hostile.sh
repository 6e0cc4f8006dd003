# mot-tokenize on inputs that mean no good: tars of all kinds and tricks, bombs, JSON, and little memory.
. "$T/cli.sh"
samples=$T/files/samples
cat "$MAN"/*.1 > notes.txt
mot-tokenize -q --learn text=400,image=32,speech=16 -t tok --image-size 32 "$samples" notes.txt
texts() { mot-tokenize -t tok "$@" 2> err | mot-tokenize --decode -f lines | tr '\n' ' '; }

# Every kind of tar, with names that are long, not ASCII, or no UTF-8 at all.
long=$(printf 'x%.0s' $(seq 150))
mkdir -p d/$long
printf 1 > "d/日本語.txt"
printf 2 > "$(printf 'd/\377.txt')"
printf 3 > d/$long/$long.txt
for format in gnu oldgnu pax; do
    tar --format=$format -cf n.tar d
    equal "$(texts n.tar | tr ' ' '\n' | sort | tr -d '\n')" 123
done
for format in ustar v7; do
    tar --format=$format -cf n.tar d 2> err || true # they have no room for long names
    equal "$(texts n.tar | tr ' ' '\n' | sort | tr -d '\n')" 12
done

# Names that lead elsewhere are names; nothing is written anywhere.
mkdir in
printf a > in/a.txt
tar -cPf t.tar --transform 's,^in,../../../tmp/../etc,' in/a.txt
tar -rPf t.tar --transform 's,^in,/etc/passwd,' in/a.txt
equal "$(texts t.tar)" 'a a '

# What is no file: links, pipes, folders; the same name twice; empty members.
mkfifo in/p.txt
ln -s a.txt in/l.txt
mkdir in/f.txt
: > in/e.txt
tar -cf t.tar --sort=name in
equal "$(texts t.tar)" 'a '
says 'skipped: t.tar: in/l.txt: a link to a.txt'
says 'skipped: t.tar: in/e: empty'
tar -cf t.tar -C in a.txt
tar -rf t.tar -C in a.txt
fails mot-tokenize -t tok -o x.mot t.tar
says 'a.txt: a member that is there twice'

# Nor is a pipe that data name, or that stands beside a picture: nobody may ever write into it.
mkdir pipes
cp "$samples/000.png" pipes/a.png
cp "$samples/001.txt" pipes/b.txt
mkfifo pipes/a.txt
echo '{"text":"a","image":"in/p.txt"}' > p.jsonl
equal "$(mot-tokenize -t tok pipes p.jsonl 2> err | mot-tokenize --dump | wc -l | tr -d ' ')" 1
says 'skipped: pipes/a.txt: not a file'
says 'skipped: p.jsonl:1: in/p.txt: not a file'

# A sample whose members do not stand together is two.
printf b > in/b.txt
cp "$samples/000.png" in/a.png
tar -cf t.tar -C in a.txt b.txt a.png
equal "$(mot-tokenize -q -t tok t.tar | mot-tokenize --dump | wc -l | tr -d ' ')" 3

# Sizes that are lies, or true and too large: 2 GB of holes in 10 KB, gigabytes in a few KB of gzip.
truncate -s 2G hole.txt
tar -Scf t.tar hole.txt -C in a.txt
equal "$(texts t.tar)" 'a '
says 'hole.txt: a member of more than 1024 MB'
rm hole.txt
head -c 5000 t.tar > cut.tar
fails mot-tokenize -t tok -o x.mot cut.tar
says 'truncated\|Truncated'
head -c 60M /dev/zero | gzip -9 | gzip -9 > bomb.tar.gz # packed twice; zeros are the end of a tar
equal "$(texts bomb.tar.gz)" ''
{ printf '\211PNG\r\n\032\n\0\0\0\015IHDR\0\1\206\240\0\1\206\240\010\002\0\0\0'; printf '\256\102\140\202'; } > in/bomb.png
{ printf '\211PNG\r\n\032\n\0\0\0\015IHDR\0\0\0\0\0\0\0\0\010\002\0\0\0'; printf '\0\0\0\0'; } > in/zero.png
head -c 300 "$samples/000.png" > in/cut.png
for f in bomb zero cut; do
    fails mot-tokenize -t tok -o x.mot in/$f.png
    says "in/$f.png: "
done

# JSON: each bad line is named, the others arrive.
{
    echo '{"text":"first"}'
    printf '{"text":%s' '' && head -c 100000 /dev/zero | tr '\0' '[' && echo
    printf '{"text":"a\0b"}\n'
    echo '{"text":"a","text":"b"}'
    echo '{"text":{"text":"a"}}'
    echo '{"text":1e999}'
    echo 'null'
    echo '{"image":["a"]}'
    echo '{"segments":[{"text":null}]}'
    echo '{"speech":"/"}'
    printf '{"text":"\355\240\200"}\n'
    echo '{"text":"a\u0000b"}'
    printf '{"text":"last"}'
} > j.jsonl
mot-tokenize -v -t tok -o j.mot j.jsonl 2> err
for line in 2 3 4 5 6 7 8 9 10 11; do says "skipped: j.jsonl:$line: "; done
says '3 documents, .* 10 records skipped'
mot-tokenize --decode -f lines j.mot | tr -d '\0' | tr '\n' ' ' > said
equal "$(cat said)" 'first ab last '

# What reasons have in common is counted together.
echo >> j.jsonl
for i in 1 2 3; do echo "{\"text\":\"a\"} x$i"; done >> j.jsonl
fails mot-tokenize -t tok --strict -o x.mot j.jsonl
mot-tokenize -t tok -o x.mot j.jsonl 2> err
says 'for this reason: 3: not valid JSON: end of file expected$'

# A stream of any length takes little memory: 60 MB of lines, and of a tar, in a process of 250 MB, however many threads are
# asked for.  (Sanitizers need more than any limit.)
if (ulimit -v 250000; mot-tokenize --version > version 2>&1); then
    seq 1000000 8499999 > many.txt
    (ulimit -v 250000; mot-tokenize -q -t tok --threads 2 -f lines -o many.mot - < many.txt)
    equal "$(mot-tokenize --info many.mot | awk -F '\t' '$2 == "all" { print $3 }')" "$(wc -l < many.txt | tr -d ' ')"
    tar -cf one.tar --sort=name -C "$T/files" samples
    for i in $(seq 100); do cat one.tar; done > many.tar
    (ulimit -v 250000; mot-tokenize -q -t tok --threads 40 -f tar -o many.mot - < many.tar)
    equal "$(mot-tokenize --info many.mot | awk -F '\t' '$2 == "all" { print $3 }')" 800
    # A text is one document, and is read whole: what does not fit says so and what to do.
    (ulimit -v 250000; head -c 400M /dev/zero | fails mot-tokenize -q -t tok -o text.mot -)
    says 'standard input: out of memory .*; -f lines takes each line as a record$'
    absent text.mot
    # Pictures that fit one by one, but not two at a time, are all there, whatever the number of threads.
    chunk() { # TYPE < DATA: a PNG's; gzip ends with the checksum, the wrong way round
        { printf %s "$1"; cat; } > chunk
        printf '%08x' $(($(wc -c < chunk) - 4)) | sed 's/../\\x&/g' > length
        env printf "$(cat length)"
        cat chunk
        for byte in $(gzip -c chunk | tail -c 8 | od -An -tx1 | cut -c 1-12 | tr ' ' '\n' | tac); do env printf "\x$byte"; done
    }
    {
        printf '\211PNG\r\n\032\n'
        printf '\0\0\016\0\0\0\016\0\010\002\0\0\0' | chunk IHDR # 3584 x 3584
        { printf '\170\1'; head -c $((3584 * (1 + 3 * 3584))) /dev/zero | gzip | tail -c +11; } | chunk IDAT
        chunk IEND < /dev/null
    } > p1.png
    for i in 2 3 4 5 6; do cp p1.png p$i.png; done
    tar -cf large.tar p?.png
    for threads in 2 4; do
        (ulimit -v 300000; mot-tokenize -t tok --threads $threads -f tar -o large.mot - < large.tar 2> err)
        says '6 documents, .* 0 records skipped'
    done
fi
