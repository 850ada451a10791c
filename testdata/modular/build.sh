#!/bin/sh
# Builds libvirt with the daemons virtqemud and virtproxyd, which Debian has no packages of, from the source of Debian's
# libvirt, and prints the directory that has them, as make install DESTDIR= would. Only the QEMU driver is built, and
# clients connect to its daemon directly. The result is kept in ~/.cache/hugeguard until this recipe changes. Needs apt, and
# root to install what the build needs.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hugeguard
tree=$cache/modular-$(sha256sum "$0" | cut -c 1-16)
mkdir -p "$cache"
exec 9>"$cache/modular-lock"
flock 9
if [ -d "$tree" ]; then
	echo "$tree"
	exit
fi
rm -rf "$cache"/modular-*[0-9a-f] "$cache/modular.new"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
log=$work/log
# told runs a command, and prints what it says only if it fails.
told() { "$@" >"$log" 2>&1 9>&- || { tail -n 50 "$log" >&2; exit 1; }; }
say() { echo "libvirt's modular daemons: $*" >&2; }

"$here/../prerequisites.sh" >&2
say "fetching the source"
# apt's own lists stay as they are.
mkdir -p "$work/lists/partial" "$work/archives/partial"
apt-get indextargets --format 'deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(REPO_URI) $(RELEASE) $(COMPONENT)' \
	'Created-By: Packages' 'Origin: Debian' | sort -u >"$work/sources.list"
apt() {
	told apt-get -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$work/lists" \
		-o Dir::Cache="$work" -o APT::Sandbox::User=root "$@"
}
cd "$work"
apt update
apt source --download-only libvirt
told dpkg-source --no-check -x libvirt_*.dsc source
say "building: this takes minutes"
arch=$(gcc -print-multiarch)
told meson setup build source --auto-features=disabled --buildtype=plain --prefix=/usr --sysconfdir=/etc --localstatedir=/var \
	--libdir="lib/$arch" --libexecdir=lib/libvirt -Drunstatedir=/run -Dinit_script=systemd \
	-Ddriver_qemu=enabled -Ddriver_remote=enabled -Ddriver_libvirtd=enabled -Dyajl=enabled -Dnumactl=enabled \
	-Dremote_default_mode=direct -Dqemu_user=libvirt-qemu -Dqemu_group=libvirt-qemu
told ninja -C build src/virtqemud src/virtproxyd src/virtlogd src/libvirt_driver_qemu.so tools/virsh

libraries=root/usr/lib/$arch
install -D -t root/usr/sbin build/src/virtqemud build/src/virtproxyd build/src/virtlogd
install -D -t root/usr/bin build/tools/virsh
install -D -t "$libraries/libvirt/connection-driver" build/src/libvirt_driver_qemu.so
for library in build/src/libvirt*.so.0.*[0-9]; do
	install -t "$libraries" "$library"
	library=${library##*/}
	ln -s "$library" "$libraries/${library%%.so.*}.so.0"
done
install -D -m 0644 -t root/usr/lib/systemd/system build/src/virtqemud*.service build/src/virtqemud*.socket build/src/virtproxyd.service \
	build/src/virtproxyd.socket build/src/virtproxyd-ro.socket build/src/virtproxyd-admin.socket
mv root "$cache/modular.new" # which may be another file system
mv "$cache/modular.new" "$tree"
say "built in $tree"
echo "$tree"
