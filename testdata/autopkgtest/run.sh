#!/bin/sh
# Runs Debian's autopkgtest on the release of this commit, as Debian would: in a root file system of SUITE, trixie by
# default, it builds the packages with what Build-Depends names, and in another it has autopkgtest install them with what
# debian/tests/control names, and no more. A release of Debian without the Go that is needed takes it from its backports.
# The root file systems have mounts and processes of their own, but this machine's kernel, network and huge pages. Needs
# root, mmdebstrap, 512 MiB of huge pages, which are given back, and 4 GiB in ~/.cache/hugeguard, which are kept.
set -eu
cd "$(dirname "$0")"
: "${SUITE:=trixie}"
if [ "${1:-}" != inner ]; then
	[ "$(id -u)" -eq 0 ] || { echo "run.sh: needs root" >&2; exit 1; }
	cache=${XDG_CACHE_HOME:-$HOME/.cache}/hugeguard/autopkgtest-$SUITE
	mkdir -p "$cache/archives/partial"
	work=$(mktemp -d -p "$cache")
	trap 'rm -rf "$work"' EXIT
	trap 'exit 1' HUP INT TERM
	if [ ! -d "$cache/root" ]; then
		echo "building the root file system of $SUITE"
		rm -rf "$cache/root.new"
		mirror=http://deb.debian.org/debian
		[ "$SUITE" = sid ] || set -- "deb $mirror $SUITE-backports main"
		printf 'Package: golang-any golang-go golang-src src:golang-1.*\nPin: release n=%s-backports\nPin-Priority: 990\n' "$SUITE" >"$work/golang"
		mmdebstrap --quiet --variant=apt --mode=root --format=directory --skip=cleanup/apt --dpkgopt=force-unsafe-io \
			--aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Check-Valid-Until "false"' \
			--setup-hook='mkdir -p "$1/etc/apt/preferences.d" && cp '"$work"'/golang "$1/etc/apt/preferences.d"' \
			"$SUITE" "$cache/root.new" "deb $mirror $SUITE main" "$@"
		printf '#!/bin/sh\nexit 101\n' >"$cache/root.new/usr/sbin/policy-rc.d" # no daemon starts here but the tests' own
		chmod +x "$cache/root.new/usr/sbin/policy-rc.d"
		mv "$cache/root.new" "$cache/root"
	fi
	../../install/package/dist.sh "$work/dist"
	unshare --mount --pid --fork --kill-child "./${0##*/}" inner "$cache" "$work"
	exit
fi

cache=$2 work=$3
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
mount --make-rprivate /
# machine mounts the root file system at $1 so that what is installed there does not stay.
machine() {
	mkdir -p "$1" "$1.upper" "$1.work"
	mount -t overlay overlay -o "lowerdir=$cache/root,upperdir=$1.upper,workdir=$1.work" "$1"
	mount -t proc proc "$1/proc"
	mount --rbind /sys "$1/sys"
	mount --rbind /dev "$1/dev"
	mount -t tmpfs tmpfs "$1/run"
	mount --bind "$cache/archives" "$1/var/cache/apt/archives"
	cp /etc/resolv.conf "$1/etc/resolv.conf"
}
builder=$work/builder
machine "$builder"
in_builder() { chroot "$builder" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive sh -euc "$1"; }
mkdir "$builder/build" "$builder/testbed"
cp "$work"/dist/*.tar.gz "$builder/build"

echo "building the packages"
in_builder '
cd /build
tar -xf hugeguard-*.tar.gz
version=$(cat hugeguard-*/VERSION)
mv hugeguard-*.tar.gz hugeguard_$version.orig.tar.gz
apt-get update -qq
apt-get install -qq autopkgtest dpkg-dev >/dev/null
cd hugeguard-$version
apt-get build-dep -qq . >/dev/null
unshare --net dpkg-buildpackage --no-sign >../log 2>&1 || { cat ../log; exit 1; }'

echo "running autopkgtest"
machine "$work/testbed"
mount --rbind "$work/testbed" "$builder/testbed"
in_builder 'exec autopkgtest --ignore-restrictions=isolation-machine --apt-upgrade /build/*.deb /build/*.dsc -- chroot /testbed'
