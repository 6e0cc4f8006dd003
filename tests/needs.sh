#!/bin/sh
# needs.sh PACKAGE...: install the Debian packages that are missing, asking for root only then.
missing=
for p; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -z "$missing" ] && exit 0
command -v apt-get >/dev/null || {
    echo "needs.sh: no apt-get here; please install:$missing" >&2
    exit 1
}
sudo=
[ "$(id -u)" -eq 0 ] || sudo=sudo
echo "installing:$missing" >&2
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
$sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 || {
    $sudo apt-get update -qq &&
        $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
} || {
    echo "needs.sh: could not install:$missing" >&2
    exit 1
}
