#!/bin/sh
# SPDX-License-Identifier: MIT
# run.sh: every measurement of speed, each after the command that makes it; `make bench` builds what they need.
#
#   B=bin PYTHON=python3 tests/bench/run.sh
#
# Ratios are taken within one run on the same work, so they hold on a busy machine too, if less exactly.  Each program's head
# says what its columns mean.
B=${B:-bin} PYTHON=${PYTHON:-python3}
cd "$(dirname "$0")/../.." || exit 1

measure() { # COMMAND...
    echo
    echo "\$ $*"
    "$@"
}

measure tests/bench/convert.sh
measure env GOMP_SPINCOUNT=10000 "$B/bench-step" # as programs set it for themselves
if "$PYTHON" -c 'import tokenizers' 2>/dev/null; then
    measure "$PYTHON" tests/bench/text.py --bin "$B" --learn 32000
else
    echo "bench: $PYTHON has no tokenizers to compare with (pip install tokenizers tiktoken, PYTHON=...)" >&2
fi
if "$PYTHON" -c 'import torch' 2>/dev/null; then
    measure "$PYTHON" tests/bench/peer.py --bench "$B/bench-step"
else
    echo "bench: $PYTHON has no PyTorch to compare with (pip install torch, PYTHON=...)" >&2
fi
