#!/bin/sh
# Builds the packages into the directory $1: a .deb and an .rpm for each of ARCHES, and one of the SELinux policy for all.
# The default is this machine's architecture. Another architecture needs a C compiler for it. The same source, Go and C
# compiler always build the same bytes. VERSION and SOURCE_DATE_EPOCH default to those of the commit. To build packages
# for other people, set MAINTAINER, "Name <address>". The files are those of "make stage", the scripts and the rest those
# of debian and rpm beside this, so distributions build the same from "make dist".
set -eu
umask 022
export LC_ALL=C TZ=UTC
case $1 in /*) out=$1 ;; *) out=$PWD/$1 ;; esac
cd "$(dirname "$0")/../.."
: "${GO:=go}"
command -v "$GO" >/dev/null || { echo "build.sh: $GO is missing: https://go.dev/doc/install" >&2; exit 1; }
: "${ARCHES:=$("$GO" env GOHOSTARCH)}" "${FORMATS:=deb rpm}" "${VERSION:=$(install/package/version.sh)}"
: "${SOURCE_DATE_EPOCH:=$( ([ -e .git ] && git log -1 --format=%ct 2>/dev/null) || stat -c %Y CHANGELOG.md)}"
GLIBC=2.17 # the oldest that the command runs with; a test compares this with the program
. install/package/project.sh
export VERSION SOURCE_DATE_EPOCH MAINTAINER GLIBC HOMEPAGE
# Settings for other builds would change the bytes.
unset GOFLAGS CGO_CFLAGS CGO_CPPFLAGS CGO_LDFLAGS GOAMD64 GOARM64 GOEXPERIMENT GOARCH CC MAKEFLAGS

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
trap 'exit 1' HUP INT TERM

# compiler prints the C compiler for an architecture.
compiler() {
	case $1 in
	"$("$GO" env GOHOSTARCH)") if command -v gcc >/dev/null; then echo gcc; else echo cc; fi ;;
	amd64) echo x86_64-linux-gnu-gcc ;;
	arm64) echo aarch64-linux-gnu-gcc ;;
	esac
}
# Everything that is missing is reported at once, before the build.
missing=
for arch in $ARCHES; do
	case $arch in
	amd64) debian="gcc-x86-64-linux-gnu libc6-dev-amd64-cross" ;;
	arm64) debian="gcc-aarch64-linux-gnu libc6-dev-arm64-cross" ;;
	*) missing="$missing
$arch: packages are only for amd64 and arm64"; continue ;;
	esac
	cc=$(compiler $arch)
	case $cc in gcc | cc) debian="gcc libc6-dev" ;; esac
	echo '#include <stdlib.h>
int main(void) { return EXIT_SUCCESS; }' | $cc -x c -o "$stage/try" - 2>/dev/null || missing="$missing
$cc, with the C library, for $arch (on Debian: apt install $debian)"
done
for tool in gzip make; do
	command -v $tool >/dev/null || missing="$missing
$tool"
done
if [ -n "$missing" ]; then
	echo "build.sh: missing:$missing" >&2
	exit 1
fi

mkdir -p "$out" "$stage/common"
"$GO" build -mod=readonly -modfile=testdata/tools/go.mod -trimpath -o "$stage/nfpm" github.com/goreleaser/nfpm/v2/cmd/nfpm
package=install/package
cp $package/*.yaml $package/debian/hugeguard* $package/rpm/* "$stage/common"
sed -i "/^#DEBHELPER#$/d" "$stage"/common/hugeguard* # of debhelper alone

# made runs make for this release, whatever it was told by the make that started this script.
made() { make -s GO="$GO" VERSION="$VERSION" RELEASE=1 PREFIX=/usr "$@"; }
# changelog prints Debian's changelog of a package.
changelog() {
	printf '%s (%s-1) unstable; urgency=medium\n\n  * See /usr/share/doc/%s/changelog.gz.\n\n -- %s  %s\n' \
		"$1" "$VERSION" "$1" "$MAINTAINER" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")"
}
# debian adds to a tree what debhelper adds, with $2 as Debian's own files of a package.
debian() {
	doc=$1/usr/share/doc/$2
	install -D -m 0644 -t "$doc" $package/debian/copyright
	install -m 0644 CHANGELOG.md "$doc/changelog"
	changelog "$2" >"$doc/changelog.Debian"
	gzip -9n "$doc/changelog" "$doc/changelog.Debian"
	install -D -m 0644 $package/debian/"$2".lintian-overrides "$1/usr/share/lintian/overrides/$2"
}
# contents lists a tree for nfpm. An rpm also owns the directories that are the package's alone, and says what is
# documentation. The shells' directories belong to the shells, or to the package filesystem. The script pre notes which
# of them did not exist, and postun removes those.
contents() {
	echo contents:
	(cd "$1" && find . -mindepth 1 -printf '%y /%P\n' | LC_ALL=C sort) | while read -r kind name; do
		type=
		case $2:$kind:$name in
		rpm:d:*/hugeguard | rpm:d:*/hugeguard-selinux | rpm:d:*/hugeguard/*) type=dir ;;
		*:d:*) continue ;;
		rpm:*:/usr/share/licenses/*) type=license ;;
		rpm:*:/usr/share/doc/* | rpm:*:/usr/share/man/*) type=doc ;;
		esac
		mode=$(stat -c '0%a' "$1$name")
		[ "$type" = dir ] && source= || source="src: '$1$name', "
		echo "  - {${source}dst: '$name', type: '$type', file_info: {mode: $mode, owner: root, group: root}}"
	done
}
# package makes the package of a tree for a format, as a configuration of nfpm describes it.
package() {
	configuration=$stage/common/now.yaml
	{ cat "$stage/common/$1"; contents "$2" "$3"; } >"$configuration"
	(cd "$stage/common" && ARCH=$4 "$stage/nfpm" package --config "$configuration" --packager "$3" --target "$out" >"$stage/said") ||
		{ cat "$stage/said" >&2; exit 1; }
}

made manual BIN="$stage"
# The command runs with older C libraries than this machine's: glibc.h has the symbols' versions, and the libraries are
# those that had them before libc.so.6.
for arch in $ARCHES; do
	GOARCH=$arch CGO_ENABLED=1 CC=$(compiler $arch) CPATH=$PWD/$package CGO_CFLAGS="-O2 -include glibc.h" \
		CGO_LDFLAGS="-Wl,--wrap=__libc_start_main -Wl,--no-as-needed -l:libpthread.so.0 -l:libdl.so.2" made build BIN="$stage/$arch"
done
for format in $FORMATS; do
	tree=$stage/$format-selinux
	case $format in
	deb) for=debian ;;
	rpm) for=rpm ;;
	esac
	made stage-selinux FOR=$for DESTDIR="$tree" >"$stage/said"
	[ $format != deb ] || debian "$tree" hugeguard-selinux
	package selinux.yaml "$tree" $format all
	for arch in $ARCHES; do
		tree=$stage/$format-$arch
		made stage FOR=$for BIN="$stage/$arch" MANUAL="$stage/manual" DESTDIR="$tree" >"$stage/said"
		[ $format != deb ] || debian "$tree" hugeguard
		gzip -9n "$tree"/usr/share/man/man?/*
		package nfpm.yaml "$tree" $format "$arch"
	done
done
