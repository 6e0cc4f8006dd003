#!/bin/sh
# SPDX-License-Identifier: MIT
# samples.sh OUT: a picture, a sentence and a sound of the validation part through tokens and back: OUT/samples/image-before.png,
# image-after.png, and so on; quality.tsv (compare.c) and tokens.tsv say what they cost and lost.
set -eu
cd "$1"
rm -rf samples.part
mkdir samples.part
awk -f ../samples.awk data/val.jsonl >data/samples.jsonl
mot-tokenize --strict -q -t tok -o samples.part/samples.mot data/samples.jsonl
mot-tokenize --decode -q -t tok -o samples.part samples.part/samples.mot

value() { sed -n "s/.*{\"$1\":\"\\([^\"]*\\)\"}.*/\\1/p" data/samples.jsonl | tr -d '\n'; }
value text >samples.part/text-before.txt
cp "data/$(value image)" samples.part/image-before.png
cp "data/$(value speech)" samples.part/speech-before.ogg
cd samples.part
mv 000000.txt text-after.txt
mv 000000.png image-after.png
mv 000000.wav speech-after.wav
mot-tokenize --info samples.mot >tokens.tsv
demo-compare ../tok . >quality.tsv
cd ..
rm -rf samples
mv samples.part samples
