# cli.sh - what the tests in tests/cli share: `. "$T/cli.sh"`.  ("! command" does not stop a script that runs with -e.)

wrong() { # SENTENCE...
    echo "$*" >&2
    exit 1
}

equal() { # FOUND EXPECTED
    [ "$1" = "$2" ] || wrong "found    $1
expected $2"
}

same() { # FILE FILE
    cmp "$1" "$2" || wrong "$1 and $2 differ"
}

arrives() { # SIGNAL: is it not ignored here, as HUP is below nohup?
    ! sh -c "kill -$1 \$\$; exit 0" 2> /dev/null
}

exits() { # STATUS COMMAND...: its stderr goes to ./err
    expected=$1 status=0
    shift
    "$@" 2> err || status=$?
    [ "$status" -eq "$expected" ] || wrong "exit $status, expected $expected: $*
$(cat err)"
}

fails() { # COMMAND...: exit 1, with one line on stderr, or some of the form "PROGRAM: ..."
    exits 1 "$@"
    [ -s err ] || wrong "fails without a word: $*"
    ! grep -v "^$1: " err || wrong "not a message of $1: $*"
}

says() { # PATTERN: the last exits or fails said so
    grep -q -- "$1" err || wrong "expected \"$1\", found: $(cat err)"
}

absent() { # FILE...
    for file; do [ ! -e "$file" ] || wrong "$file should not be there"; done
}
