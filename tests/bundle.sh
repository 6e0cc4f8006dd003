#!/bin/sh
# bundle.sh DIR PACKAGE...: headers and libraries of Debian packages, and the libraries that these need, in DIR, with a file
# DIR/env to source: where there are no packages to be had, `make` finds them there.  `make gpu-bundle` calls it.
set -eu
dir=$1
shift
rm -rf "$dir"
mkdir -p "$dir/include" "$dir/lib/pkgconfig" "$dir/bin"

files() { # PACKAGE PATTERN
    dpkg -L "$1" | grep -E "$2" | while read -r f; do [ -d "$f" ] || echo "$f"; done
}

# The packages and what they need, but for the C library's own.
closure() {
    for p; do echo "$p"; done > "$dir/todo"
    : > "$dir/packages"
    while [ -s "$dir/todo" ]; do
        sort -u "$dir/todo" | comm -23 - "$dir/packages" > "$dir/new"
        sort -u "$dir/packages" "$dir/new" -o "$dir/packages"
        : > "$dir/todo"
        while read -r p; do
            dpkg-query -W -f '${Depends}, ${Pre-Depends}\n' "$p" 2>/dev/null | tr ',|' '\n\n' | sed 's/^ *//; s/[ (:].*//; /^$/d'
        done < "$dir/new" | grep -vE '^(libc6|libc6-dev|libc-dev|libgcc|gcc|libstdc|debconf|dpkg|install-info|perl|libcrypt)' |
            sort -u > "$dir/todo" || true
    done
}

closure "$@"
while read -r p; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || continue
    files "$p" '^/usr/include/' | while read -r f; do
        to=$dir/include/${f#/usr/include/}
        case $f in /usr/include/*-linux-gnu*/*) to=$dir/include/${f#/usr/include/*/} ;; esac
        mkdir -p "${to%/*}"
        cp "$f" "$to"
    done
    files "$p" '^/(usr/)?lib/[^/]*-linux-gnu[^/]*/lib[^/]*\.so(\.[0-9.]*)?$' | while read -r f; do cp -a "$f" "$dir/lib/"; done
    files "$p" '/pkgconfig/[^/]*\.pc$' | while read -r f; do
        sed "s|^prefix=.*|prefix=$(cd "$dir" && pwd)|; s|^includedir=.*|includedir=\${prefix}/include|; s|^libdir=.*|libdir=\${prefix}/lib|" \
            "$f" > "$dir/lib/pkgconfig/${f##*/}"
    done
done < "$dir/packages"
cp "$(command -v pkg-config)" "$dir/bin/pkg-config"
cp -a /usr/lib/*-linux-gnu*/libpkgconf.so* "$dir/lib/" 2>/dev/null || true
rm -f "$dir/todo" "$dir/new"
# The folder may have moved since: paths are settled when it is used.
cat > "$dir/env" <<'END'
mot_bundle=$(cd "$BUNDLE" && pwd)
sed -i "s|^prefix=.*|prefix=$mot_bundle|" "$mot_bundle"/lib/pkgconfig/*.pc
export PKG_CONFIG_LIBDIR="$mot_bundle/lib/pkgconfig"
export C_INCLUDE_PATH="$mot_bundle/include${C_INCLUDE_PATH:+:$C_INCLUDE_PATH}"
export LIBRARY_PATH="$mot_bundle/lib${LIBRARY_PATH:+:$LIBRARY_PATH}"
export LD_LIBRARY_PATH="$mot_bundle/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
command -v pkg-config > /dev/null || export PATH="$PATH:$mot_bundle/bin"
END
du -sh "$dir"
