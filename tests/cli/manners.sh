# All programs: help, version, unknown options, missing files, a full disk, a closed stdout and pipe, nothing on the wrong stream.
. "$T/cli.sh"

cat "$MAN"/*.1 > notes.txt
mot-tokenize -q --learn text=300 -t tok notes.txt
mot-tokenize -q -t tok -f lines -o n.mot notes.txt
mot-train -q -c nano -t tok -o run --steps 0

programs=$(for page in "$MAN"/mot-*.1; do basename "$page" .1; done)
for p in $programs; do
    for option in --help -h; do
        $p $option > out 2> err
        equal "$(head -n 1 out | cut -d ' ' -f 1,2)" "usage: $p"
        equal "$(cat err)" ''
    done
    equal "$(awk 'length > 130' out)" ''
    for option in --version -V; do
        $p $option > out 2> err
        equal "$(head -n 1 out | cut -d ' ' -f 1,2)" "$p (mot)"
        equal "$(cat err)" ''
    done
    for option in --bogus -Z --threads=many; do
        exits 2 "$p" $option < /dev/null > out
        equal "$(cat out)" ''
        says "^$p: --help"
    done
    if [ -w /dev/full ]; then
        for option in --help --version; do
            fails "$p" $option > /dev/full
            says 'cannot write'
        done
    fi
    fails "$p" --help >&-
done

# A file that is not there is named in one line.
missing() { # COMMAND...
    fails "$@" > out
    says 'nothere'
    equal "$(wc -l < err | tr -d ' ')" 1
    equal "$(cat out)" ''
}
missing mot-tokenize --dump nothere
missing mot-tokenize --decode nothere
missing mot-tokenize -t nothere notes.txt
missing mot-tokenize -t tok nothere.txt
missing mot-tokenize --pack -t tok nothere
missing mot-tokenize --learn text=300 -t new nothere.txt
missing mot-train -c nothere -t tok -o new n.mot
missing mot-train -c nano -t nothere -o new n.mot
missing mot-train -c nano -t tok -o new nothere.mot
missing mot-eval --json nothere n.mot
missing mot-eval --json run nothere.mot
absent new/model.safetensors

# Words go to stderr, data to stdout, and -q keeps the words.
mot-tokenize -t tok -o q.mot notes.txt > out 2> err
equal "$(cat out)" ''
says '^mot-tokenize: 1 documents, '
mot-tokenize -q -t tok -o q.mot notes.txt > out 2> err
equal "$(cat out err)" ''

# A name with a tab or a newline in it is one column of one line all the same.
odd=$(printf 'a\tb\nc.mot')
cp n.mot "$odd"
mot-tokenize --info "$odd" > out
equal "$(awk -F '\t' 'NF != 7' out)" ''
grep -q '^a\\tb\\nc.mot	' out || wrong "$(cat out)"
mot-eval run "$odd" > out
equal "$(awk -F '\t' 'NF != 6' out)" ''
grep -q '^a\\tb\\nc.mot	' out || wrong "$(cat out)"

# stdout that fails late, or is closed at once.
if [ -w /dev/full ]; then
    fails mot-eval run n.mot > /dev/full
    fails mot-eval --per-token run n.mot > /dev/full
    fails mot-train --presets > /dev/full
    fails mot-train -c nano -t tok -o full --steps 1 --batch 1 --seq 16 n.mot > /dev/full
fi
(status=0; mot-eval --per-token run n.mot 2> err || status=$?; echo $status > status) | true
equal "$(cat err)" ''
equal "$(cat status)" 141

# Started anew to set how threads wait, a program is still the same: arguments, standard input, exit status.
(
    unset GOMP_SPINCOUNT OMP_WAIT_POLICY
    equal "$(echo 'a  b' | mot-tokenize -q -t tok -f text - | mot-tokenize --decode -)" 'a  b'
    exits 2 mot-eval --no-such-option
)
