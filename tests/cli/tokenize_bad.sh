# mot-tokenize when things go wrong: damaged and foreign shards, full disks, closed pipes, wrong vocabularies and command lines.
. "$T/cli.sh"

cat "$MAN"/*.1 > notes.txt
mot-tokenize -q --learn text=300 -t tok notes.txt
head -c 3000 notes.txt > other.txt
mot-tokenize -q --learn text=280 -t other other.txt
mot-tokenize -q -t tok -f lines -o n.mot notes.txt
mot-tokenize --dump n.mot > n.jsonl

# Not a shard at all: named, with the first bytes.
: > empty.mot
for f in empty.mot notes.txt tok/tokenizer.json; do
    for mode in --dump --info --check --decode; do
        fails mot-tokenize $mode $f
        says "^mot-tokenize: $f: "
    done
done
fails mot-tokenize --check nothere.mot
says 'nothere.mot: cannot open'
fails mot-tokenize --check .

# Truncated anywhere, or a bit flipped: found, and nothing but whole documents is served with --keep-going.
size=$(wc -c < n.mot)
for n in 7 31 32 200 $((size / 3)) $((size / 2)) $((size - 60)) $((size - 1)); do
    head -c "$n" n.mot > cut.mot
    fails mot-tokenize --check cut.mot
    says '^mot-tokenize: cut.mot: '
    fails mot-tokenize --dump cut.mot > back
    fails mot-tokenize --dump < cut.mot > /dev/null
    says 'standard input: '
done
for n in 0 9 20 40 100 $((size / 2)) $((size - 5)); do
    byte=$(od -An -tu1 -j "$n" -N 1 n.mot)
    { head -c "$n" n.mot; printf "\\$(printf %o $((byte ^ 16)))"; tail -c +$((n + 2)) n.mot; } > flip.mot
    [ "$(wc -c < flip.mot)" -eq "$size" ]
    fails mot-tokenize --check flip.mot
    fails mot-tokenize --dump flip.mot > /dev/null
done
cat n.mot n.mot > two.mot
head -c $((size + size / 2)) two.mot > cut.mot
fails mot-tokenize --dump cut.mot > back
says '--keep-going'
mot-tokenize --dump --keep-going cut.mot > back 2> err
says '^mot-tokenize: cut.mot: '
cat n.jsonl n.jsonl | head -n "$(wc -l < back)" | cmp - back
[ "$(wc -l < back)" -ge "$(wc -l < n.jsonl)" ]
cat n.mot notes.txt > tail.mot
fails mot-tokenize --check tail.mot

# --check goes on after a bad one and tells a line each.
fails mot-tokenize --check n.mot cut.mot nothere.mot n.mot > out
equal "$(grep -c good out)" 2
equal "$(wc -l < err | tr -d ' ')" 2

# A shard of another vocabulary.
fails mot-tokenize --dump -t other n.mot
says 'vocabulary'
mot-tokenize -q -t other -o o.mot other.txt
cat n.mot o.mot > mixed.mot
fails mot-tokenize --check mixed.mot
says 'vocabulary'

# Lines that are no documents are named.
bad() { # LINE PATTERN
    { head -n 1 n.jsonl; echo "$1"; } > bad.jsonl
    fails mot-tokenize --pack -t tok -o bad.mot bad.jsonl
    says "bad.jsonl:2: .*$2"
    absent bad.mot
}
bad '{"segments":[{"modality":"text","ids":[0,' 'JSON'
bad '[]' 'segments'
bad '{"segments":[{"modality":"text","ids":[300]}],"bytes":1}' '0 to 299'
bad '{"segments":[{"modality":"text","ids":[-1]}],"bytes":1}' '0 to 299'
bad '{"segments":[{"modality":"text","ids":[1.5]}],"bytes":1}' '0 to 299'
bad '{"segments":[{"modality":"smell","ids":[1]}],"bytes":1}' 'smell'
bad '{"segments":[{"modality":"text","ids":[1]}],"bytes":-1}' 'bytes'
bad '{"segments":[{"modality":"text","ids":{}}],"bytes":1}' 'ids'
bad 'text' 'JSON'

# -o is all or nothing, and leaves what was there before.
echo before > keep.mot
fails mot-tokenize -t tok -o keep.mot notes.txt nothere.txt
fails mot-tokenize -t tok --strict -f jsonl -o keep.mot notes.txt
fails mot-tokenize -t tok --pack -o keep.mot notes.txt
equal "$(cat keep.mot)" before
absent keep.mot.tmp* *.tmp-*
fails mot-tokenize -t tok -o nofolder/x.mot notes.txt
says 'nofolder/x.mot: cannot create'
mkdir folder
fails mot-tokenize -t tok -o folder notes.txt
says 'folder: cannot create: it is a folder'
fails mot-tokenize -t tok -o '' notes.txt
says 'a file needs a name'
absent folder.tmp-* .tmp-*

# A program that is killed leaves nothing behind, also while it waits for input.
mkfifo pipe
for signal in TERM HUP; do
    arrives $signal || continue
    mot-tokenize -t tok -o killed.mot -f lines - < pipe 2> err &
    exec 3> pipe
    echo line >&3
    for i in 1 2 3 4 5 6 7 8 9 10; do
        [ -e "killed.mot.tmp-$!" ] && break
        sleep 0.2
    done
    [ -e "killed.mot.tmp-$!" ]
    kill -$signal $!
    status=0
    wait $! || status=$?
    exec 3>&-
    [ "$status" -gt 128 ]
    absent killed.mot "killed.mot.tmp-$!"
done

# Nor does --decode leave the file that it was at.
for signal in TERM HUP; do
    arrives $signal || continue
    rm -rf out
    mot-tokenize --decode -o out n.mot 2> err &
    while [ ! -e out/000003.txt ]; do :; done
    kill -$signal $!
    status=0
    wait $! || status=$?
    [ "$status" -gt 128 ]
    absent out/*.tmp-*
done

# A full disk is an error, not a short file; a closed pipe ends quietly by SIGPIPE, as a shell expects.
if [ -w /dev/full ]; then
    for mode in "-t tok notes.txt" "--dump n.mot" "--decode n.mot" "--info n.mot" "--check n.mot"; do
        # shellcheck disable=SC2086
        fails mot-tokenize $mode > /dev/full
        says 'standard output: cannot write'
    done
    fails mot-tokenize -q -t tok -o /dev/full notes.txt
    says '/dev/full: cannot write'
    [ -c /dev/full ]
fi
mot-tokenize -q -t tok -o whole.mot notes.txt
(trap '' XFSZ; ulimit -f 1; fails mot-tokenize --decode -o little whole.mot; says 'cannot write') # no file above 512 bytes
absent little/*.tmp-*
for i in 1 2 3 4 5 6 7 8; do cat n.mot; done > long.mot
for mode in "--dump long.mot" "--decode long.mot" "-q -t tok long.txt"; do
    [ -e long.txt ] || mot-tokenize --decode long.mot > long.txt
    # shellcheck disable=SC2086
    (status=0; mot-tokenize $mode 2> err || status=$?; echo $status > status) | head -c 1 > /dev/null
    equal "$(cat err)" ''
    case $(cat status) in 141|0) ;; *) wrong "$mode: exit $(cat status) at a closed pipe" ;; esac
done
(status=0; mot-tokenize --dump long.mot 2> err || status=$?; echo $status > status) | true
equal "$(cat status)" 141 # more than a pipe holds

# Nothing to read is an empty shard when it says so itself, and a failure when a record turns out empty.
equal "$(mot-tokenize -q -t tok -f lines < /dev/null | mot-tokenize --check)" 'standard input: good: 0 documents, 0 tokens'
fails mot-tokenize -t tok -o e.mot - < /dev/null
says 'nothing to write'
absent e.mot

# Folders that are no tokenizer, or a changed one.
fails mot-tokenize -t . notes.txt
fails mot-tokenize -t nothere notes.txt
says 'nothere'
cp -r tok changed
echo >> changed/tokenizer.json
fails mot-tokenize -t changed notes.txt
says 'digest'
fails mot-tokenize --learn text=300,image=16 -t t notes.txt
absent t/vocab.json
mot-tokenize --learn text=30000 -t t notes.txt 2> err
says 'ids, not 30000'

# Wrong command lines: exit 2, told in a line.
usage() { # PATTERN ARGUMENT...
    pattern=$1
    shift
    exits 2 mot-tokenize "$@" < /dev/null
    says "$pattern"
}
usage 'give -t TOK' notes.txt
usage 'give -t TOK' --pack
usage 'give -t TOK' --learn text=300 notes.txt
usage 'exclude' --dump --info n.mot
usage 'exclude' -t tok --raw --add-special notes.txt
usage 'means nothing' --dump --raw n.mot
usage 'means nothing' -t tok --json notes.txt
usage 'expected text=N' --learn smell=5 -t t notes.txt
usage 'expected text=N' --learn 5 -t t notes.txt
usage 'twice' --learn text=300,text=300 -t t notes.txt
usage '258 ids' --learn text=10 -t t notes.txt
usage 'multiple of the patch' --learn text=300,image=16 --image-size 60 -t t notes.txt
usage 'whole number' --learn text=many -t t notes.txt
usage 'expected text, lines' -f smell -t tok notes.txt
usage 'text or lines' --decode -f tar n.mot
usage 'expected text, image and speech' --order up -t tok notes.txt
usage 'from 0 to 1' --order random=2 -t tok notes.txt
if script -qec true /dev/null < /dev/null > screen 2> err; then # there is one, and terminals for it
    # A shard is not for the screen.
    script -qec "mot-tokenize -t tok notes.txt; echo status \$?" /dev/null < /dev/null > screen
    grep -q 'terminal' screen
    grep -q 'status 2' screen
fi
