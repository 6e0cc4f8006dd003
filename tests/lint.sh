#!/bin/sh
# lint.sh: what the compiler does not check.  B=bin tests/lint.sh; one line a finding, exit 1 if there is one.
#
#   layers    includes point down only: tools -> mot.h; lib: profile -> train, convert, generate, eval -> model -> token, data -> base;
#             kernels include nothing of lib
#   library   names begin with mot_; it neither prints nor exits; memory comes from lib/base/memory.c alone
#   headers   each compiles by itself, the public ones as C++ too
#   manuals   are clean mdoc and name the options that --help names
B=${B:-bin}
cd "$(dirname "$0")/.." || exit 1
CC=${CC:-cc} CXX=${CXX:-c++} findings=0

finding() {
    echo "lint: $*" >&2
    findings=$((findings + 1))
}

each() { # WHAT: a finding for each line of stdin
    while read -r line; do
        echo "lint: $1: $line" >&2
        echo x
    done
}

sources=$(git ls-files -co --exclude-standard 'lib/*.[ch]' 'kernels/*.[ch]' 'kernels/*.cu' 'tools/*.[ch]' 'tests/*.[ch]' \
    'tests/shim/*.cpp')

# ---- layers ----
level() { # FOLDER: a layer may include those with a smaller number, and itself
    case $1 in
    base) echo 1 ;; token | data) echo 2 ;; model) echo 3 ;; train | convert | generate | eval) echo 4 ;; profile) echo 5 ;;
    *) finding "lib/$1: which layer is this?"; echo 0 ;;
    esac
}
for f in $sources; do
    folder=${f%/*}
    for name in $(sed -n 's/^ *# *include *"\([^"]*\)".*/\1/p' "$f"); do
        case $f in
        tools/*)
            [ "$name" = mot.h ] || [ -f "tools/$name" ] && continue ;;
        kernels/*)
            case $(realpath -m --relative-to=. "$folder/$name") in kernels/*) continue ;; esac ;;
        lib/*)
            target=$(realpath -m --relative-to=. "$folder/$name")
            from=${folder#lib/} to=$(dirname "${target#lib/}")
            case $target in
            lib/mot.h | kernels/kernels.h) continue ;;
            kernels/*) ;;
            *) [ "$from" = "$to" ] || [ "$(level "$to")" -lt "$(level "$from")" ] && continue ;;
            esac ;;
        *) continue ;;
        esac
        finding "$f: may not include $name"
    done
done

# ---- text ----
for f in $sources; do
    head -n 1 "$f" | grep -q '^/\* SPDX-License-Identifier: MIT' || finding "$f: the first line is no SPDX licence"
done
code=$(echo "$sources" | grep '^lib/\|^tools/')
found=$(
    grep -nE '\b(malloc|calloc|realloc|aligned_alloc|posix_memalign|strdup|strndup|asprintf|vasprintf)\(' \
        $(echo "$code" | grep '^lib/' | grep -v '^lib/base/memory.c') | each 'memory comes from lib/base/memory.c'
    grep -nE '\b(sprintf|strcat|gets|atoi|atol|atof|alloca|system|popen|tmpnam|strtok)\(' $code | each 'not used here'
    grep -nE '\b(TODO|FIXME|XXX)\b' $sources | each 'unfinished'
    grep -nP '\t| +$' $sources | each 'tab or space at the end'
)
findings=$((findings + $(echo "$found" | grep -c x)))

# ---- the library ----
if [ -f "$B/libmot.a" ]; then
    found=$(
        nm -g --defined-only "$B/libmot.a" 2>/dev/null | awk 'NF == 3 && $3 !~ /^(mot_|__odr_asan|_ZN)/ { print $3 }' | each 'a global name without mot_'
        nm -u "$B/libmot.a" 2>/dev/null | awk '$2 ~ /^(_?exit|abort|printf|puts|putchar|perror|err|warn|stdout|stderr|signal)$/ { print $2 }' |
            sort -u | each 'a library does not call this'
    )
    findings=$((findings + $(echo "$found" | grep -c x)))
else
    finding "$B/libmot.a: not there; make it first"
fi

# ---- headers ----
flags="-D_GNU_SOURCE -I. -Ilib -fsyntax-only -Wall -Wextra -Wno-unused-function -Wno-psabi $(pkg-config --cflags jansson libpcre2-8 2>/dev/null)"
for h in $(echo "$sources" | grep '\.h$' | grep -v '^kernels/cuda/\|^tests/shim/'); do
    # shellcheck disable=SC2086
    echo "#include \"$h\"" | $CC -std=c11 $flags -x c - || finding "$h: does not compile by itself"
done
# The GPU's are C++; those that only nvcc knows have twins in tests/shim.
for h in $(echo "$sources" | grep '\.h$' | grep '^kernels/cuda/[^/]*$\|^tests/shim/'); do
    # shellcheck disable=SC2086
    echo "#include \"$h\"" | $CXX -std=c++20 -Wno-unknown-pragmas -Itests/shim $flags -x c++ - || finding "$h: does not compile by itself"
done
for h in kernels/kernels.h lib/mot.h; do
    # shellcheck disable=SC2086
    echo "#include \"$h\"" | $CXX -std=c++11 -Wpedantic $flags -x c++ - || finding "$h: is no C++"
done

# ---- manuals ----
if command -v mandoc > /dev/null; then
    mandoc -Tlint -W warning man/* >&2 || finding "man: mandoc complains"
else
    echo "lint: no mandoc here: the manuals' form is not checked" >&2
fi
for page in man/mot-*.1; do
    p=$(basename "$page" .1)
    [ -x "$B/$p" ] || { finding "$B/$p: not there; make it first"; continue; }
    # In mdoc "Fl -name" is --name; words that follow Fl on its line are options too.
    sed -n 's/\(^\|.* \)\.\{0,1\}Fl //p' "$page" | tr ' ' '\n' | sed -n 's/^-\([a-z]\)/--\1/p' | sort -u > "$B/lint.man"
    sed -n 's/^\.It Fl //p' "$page" | tr ' ' '\n' | sed -n 's/^-\([a-z]\)/--\1/p' | sort -u > "$B/lint.items"
    # A section "PROGRAM COMMAND" is of a sub-command, which has a help of its own.
    for command in $(sed -n "s/^\.Ss $p //p" "$page") ''; do
        "$B/$p" $command --help
    done | grep -oE -e '--[a-z][a-z0-9-]*' | sort -u > "$B/lint.help"
    for o in $(comm -13 "$B/lint.man" "$B/lint.help"); do
        grep -q -- "Fl ${o#-}\b\|Fl .* ${o#-}\b" "$page" || finding "$page: does not name $o, which --help does"
    done
    for o in $(comm -23 "$B/lint.items" "$B/lint.help"); do finding "$p --help: does not name $o, which its manual does"; done
done
rm -f "$B/lint.man" "$B/lint.items" "$B/lint.help"
for page in man/*; do
    for x in $(sed -n 's/^\.Xr \(mot[a-z-]*\) \([157]\).*/\1.\2/p' "$page"); do
        [ -f "man/$x" ] || finding "$page: refers to $x, which is not there"
    done
done

[ $findings -eq 0 ]
