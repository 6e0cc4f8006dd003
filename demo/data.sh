#!/bin/sh
# SPDX-License-Identifier: MIT
#
# data.sh OUT: real data from Debian packages for the demo, as documents that mot-tokenize reads:
# OUT/data/train.jsonl, dev.jsonl, val.jsonl and learn.jsonl; pictures and sounds stay below OUT/packages.
#
# Packages are downloaded and unpacked below OUT, not installed: that needs no root, changes nothing outside the
# folder, and works on slim images, which drop /usr/share/doc (where transcripts live) at installation.
#
#   tuxpaint-stamps-default   pictures with captions, and the captions spoken in several languages
#   ruby-gemojione            emoji, 64x64, with names and keywords
#   asterisk-core-sounds-*    telephone prompts with transcripts, one voice a language
#   wordnet-base, fortunes    text
#
# split.awk keeps train, dev and val apart.  learn.jsonl is the part of train from which tokenizers are learned.
set -eu
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd)
out=$1
prompts='en es fr it ru'        # languages of prompts
spoken='en fr ru es ro bg'      # languages of spoken captions whose transcripts agree with the recordings
packages='wordnet-base fortunes ruby-gemojione tuxpaint-stamps-default'
for l in $prompts; do
    packages="$packages asterisk-core-sounds-$l asterisk-core-sounds-$l-wav"
done

say() { echo "data: $*" >&2; }
die() {
    say "$*"
    exit 1
}

# ---- packages ----

# apt ARGUMENT...: with package lists of our own, where the system has none; neither needs root.
apt() {
    [ ! -d "$out/apt/lists" ] || set -- -o Dir::State::lists="$out/apt/lists" -o Dir::Cache="$out/apt" "$@"
    [ "$(id -u)" -ne 0 ] || set -- -o APT::Sandbox::User=root "$@"
    apt-get -q "$@"
}

# Package lists that know every package, or the end.
update() {
    say 'fetching package lists'
    mkdir -p "$out/apt/lists/partial" "$out/apt/archives/partial"
    apt update >"$out/apt/log" 2>&1 || die "no package lists: $(grep -m 1 '^[EW]:' "$out/apt/log" ||
        echo 'apt-get update failed'); is there a network?"
}

# fetch PACKAGE: its .deb into OUT/packages.
fetch() {
    (cd "$out/packages" && apt download "$1") >"$out/packages/log" 2>&1
}

# unpack PACKAGE: to OUT/packages/PACKAGE, whole or not at all.  A .deb put there by hand is used.
unpack() {
    set -- "$1" "$out/packages/$1"_*.deb
    if [ ! -f "$2" ]; then
        fetch "$1" || { [ ! -d "$out/apt/lists" ] && update && fetch "$1"; } ||
            die "could not download $1: $(grep -m 1 '^E:' "$out/packages/log"); with a network \`make demo\` goes on;" \
                "without one put these packages' .deb files into $out/packages: $packages"
        set -- "$1" "$out/packages/$1"_*.deb
    fi
    rm -rf "$out/packages/$1.part"
    dpkg-deb -x "$2" "$out/packages/$1.part" || die "$2: damaged, removed; \`make demo\` fetches it again$(rm -f "$2")"
    mv "$out/packages/$1.part" "$out/packages/$1"
    rm -f "$2"
}

# ---- documents: a line "KEY<US>KEY...<TAB>KIND<TAB>JSON"; documents that share a key stay on one side ----

# Digests of files whose names follow on stdin: "DIGEST  PATH", relative to the current folder.
digests() { LC_ALL=C sort | tr '\n' '\0' | xargs -0 md5sum; }

stamps() {
    cd "$out/packages/tuxpaint-stamps-default/usr/share/tuxpaint/stamps"
    find . -name '*.png' -o -name '*_desc*.ogg' | digests >"$out/data/stamps.sums"
    find . -name '*.txt' | sort | tr '\n' '\0' | xargs -0 awk -v spoken="$spoken" -v prefix=\
'../packages/tuxpaint-stamps-default/usr/share/tuxpaint/stamps/' -f "$here/json.awk" -f "$here/stamps.awk" \
        "$out/data/stamps.sums"
}

emoji() {
    cd "$out/packages/ruby-gemojione/usr/share/rubygems-integration/all/gems/"gemojione-*
    awk -v prefix="../packages/ruby-gemojione/usr/share/rubygems-integration/all/gems/${PWD##*/}/assets/png/" \
        -f "$here/json.awk" -f "$here/emoji.awk" config/index.json
}

# prompts LANGUAGE
prompts() {
    doc=$out/packages/asterisk-core-sounds-$1/usr/share/doc/asterisk-core-sounds-$1
    cd "$out/packages/asterisk-core-sounds-$1-wav/usr/share/asterisk/sounds/"*
    find . -name '*.wav' | digests >"$out/data/prompts.sums"
    gzip -dcf "$doc/core-sounds-$1.txt"* | awk -v prefix=\
"../packages/asterisk-core-sounds-$1-wav/usr/share/asterisk/sounds/${PWD##*/}/" \
        -f "$here/json.awk" -f "$here/prompts.awk" "$out/data/prompts.sums" -
}

# A part of the glosses and fortunes: text is then less than half of all tokens.
texts() {
    cat "$out"/packages/wordnet-base/usr/share/wordnet/data.* | awk -f "$here/json.awk" -f "$here/wordnet.awk"
    cd "$out/packages/fortunes/usr/share/games/fortunes"
    find . -type f ! -name '*.*' ! -name '*.dat' ! -name '*-*art' ! -name translate-me | sort | tr '\n' '\0' |
        xargs -0 cat | iconv -c -f utf-8 -t utf-8 | awk -f "$here/json.awk" -f "$here/fortunes.awk"
}

documents() {
    (stamps)
    (emoji)
    for l in $prompts; do
        (prompts "$l")
    done
    (texts)
}

[ -f "$out/data/done" ] && exit 0
command -v apt-get dpkg-deb >/dev/null || die 'the data are Debian packages: apt-get and dpkg-deb are needed'
mkdir -p "$out/packages" "$out/data"
for p in $packages; do
    [ -d "$out/packages/$p" ] && continue
    say "fetching $p"
    unpack "$p"
done
say 'writing documents'
documents >"$out/data/documents"
awk -v out="$out/data/" -f "$here/split.awk" "$out/data/documents" "$out/data/documents"
touch "$out/data/done"
