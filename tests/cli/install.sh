# mot.pc says where the library is, also when it was made for another PREFIX before.
. "$T/cli.sh"
for prefix in /usr /opt/mot; do
    env -u MAKEFLAGS make -s -C "$T/.." B="$PWD" PREFIX=$prefix "$PWD/mot.pc"
    equal "$(PKG_CONFIG_PATH=$PWD pkg-config --variable=libdir mot)" "$prefix/lib"
done
