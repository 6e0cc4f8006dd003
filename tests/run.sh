#!/bin/sh
# Run every test and end with the line "N passed, N failed"; exit 1 on any failure.
#
#   B=bin tests/run.sh [NAME...]      unit tests $B/test_*, then CLI tests tests/cli/NAME.sh; with NAMEs only those
#   SANB=bin/san                      also run the unit tests and fuzz corpora of the sanitised twin
#
# A unit test prints "ok NAME" / "FAILED NAME" / "skip NAME: why" lines (tests/test.h).  A CLI test is a shell script run with
# `set -eu` in an empty scratch folder, with the programs first in PATH and $T = tests/; it passes by exiting 0.
B=${B:-bin}
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top" || exit 1
case $B in /*) ;; *) B=$top/$B ;; esac
scratch=$(mktemp -d "${TMPDIR:-/tmp}/mot-test.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
export GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-10000}" # as programs set it for themselves
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1}" OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}"
passed=0 failed=0 skipped=0

wanted() { # NAME WANTED...: is NAME asked for?
    [ $# -eq 1 ] && return 0
    name=$1
    shift
    for w; do [ "$w" = "$name" ] && return 0; done
    return 1
}

unit() { # PROGRAM LABEL
    out=$scratch/out
    "$1" >"$out" 2>"$scratch/err"
    rc=$?
    good=$(grep -c '^ok ' "$out")
    bad=$(grep -c '^FAILED ' "$out")
    skips=$(grep -c '^skip ' "$out")
    # A program that died before its end failed even if no line says so.
    if [ $rc -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    if [ $rc -eq 0 ] && [ $((good + bad + skips)) -eq 0 ]; then bad=1; fi
    passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + skips))
    if [ "$bad" -eq 0 ]; then
        echo "ok      $2 ($good)"
    else
        echo "FAILED  $2 (exit $rc)"
        grep '^FAILED ' "$out"
        tail -n 30 "$scratch/err"
    fi
}

cli() { # SCRIPT
    name=$(basename "$1" .sh)
    mkdir "$scratch/$name"
    (cd "$scratch/$name" && PATH="$B:$PATH" T="$top/tests" MAN="$top/man" \
        sh -eu "$1" >"$scratch/out" 2>"$scratch/err" </dev/null)
    rc=$?
    if [ $rc -eq 0 ]; then
        passed=$((passed + 1))
        echo "ok      cli/$name"
    elif [ $rc -eq 77 ]; then
        skipped=$((skipped + 1))
        echo "skip    cli/$name: $(tail -n 1 "$scratch/err")"
    else
        failed=$((failed + 1))
        echo "FAILED  cli/$name (exit $rc)"
        tail -n 20 "$scratch/out" "$scratch/err"
    fi
    rm -rf "${scratch:?}/$name"
}

for t in "$B"/test_*; do
    [ -x "$t" ] && wanted "$(basename "$t")" "$@" && unit "$t" "$(basename "$t")"
done
if [ -n "${SANB:-}" ]; then
    for t in "$SANB"/test_*; do
        [ -x "$t" ] && wanted "$(basename "$t")" "$@" && unit "$t" "sanitised $(basename "$t")"
    done
fi
for t in "$top"/tests/cli/*.sh; do
    [ -f "$t" ] && wanted "$(basename "$t" .sh)" "$@" && cli "$t"
done
echo "$passed passed, $failed failed$([ $skipped -gt 0 ] && echo ", $skipped skipped")"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
