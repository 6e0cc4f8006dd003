#!/bin/sh
# SPDX-License-Identifier: MIT
# picture.sh OUT FINALS: OUT/match.svg and match.png, the finished trainings ("ARCH LR SEED STEPS SCORED" lines) matched with the
# first of them, a dense one.  Dense of another seed shows how far slopes are from 1 by chance.
set -eu
out=$1
logs=$(echo "$2" | while read -r arch lr seed steps _; do
    echo "$out/runs/$arch-lr$lr-seed$seed-steps$steps/log.jsonl"
done)
for kind in svg png; do
    # shellcheck disable=SC2086
    mot-profile match -q --plot "$out/match.$kind" $logs >/dev/null
done
