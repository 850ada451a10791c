#!/bin/sh
# Builds the packages into the directory $1: a .deb and an .rpm for each of ARCHES, and one of the SELinux policy for all. The default is this machine's
# architecture. Another architecture needs a C compiler for it. The same source, Go and C compiler always build the same
# bytes. VERSION and SOURCE_DATE_EPOCH default to those of the commit. To build packages for other people, set
# MAINTAINER, "Name <address>".
set -eu
umask 022
export LC_ALL=C TZ=UTC
case $1 in /*) out=$1 ;; *) out=$PWD/$1 ;; esac
cd "$(dirname "$0")/../.."
: "${GO:=go}"
command -v "$GO" >/dev/null || { echo "build.sh: $GO is missing: https://go.dev/doc/install" >&2; exit 1; }
: "${ARCHES:=$("$GO" env GOHOSTARCH)}" "${FORMATS:=deb rpm}" "${VERSION:=$(install/package/version.sh)}"
: "${SOURCE_DATE_EPOCH:=$( ([ -e .git ] && git log -1 --format=%ct 2>/dev/null) || stat -c %Y CHANGELOG.md)}"
: "${MAINTAINER:=hugeguard <packages@hugeguard.invalid>}"
GLIBC=2.34 # the oldest that the command runs with; a test compares this with the program
export VERSION SOURCE_DATE_EPOCH MAINTAINER GLIBC
# Settings for other builds would change the bytes.
unset GOFLAGS CGO_CFLAGS CGO_CPPFLAGS CGO_LDFLAGS GOAMD64 GOARM64 GOEXPERIMENT GOARCH CC

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
command -v gzip >/dev/null || missing="$missing
gzip"
if [ -n "$missing" ]; then
	echo "build.sh: missing:$missing" >&2
	exit 1
fi

mkdir -p "$out" "$stage/all"
"$GO" build -modfile=testdata/tools/go.mod -trimpath -o "$stage/nfpm" github.com/goreleaser/nfpm/v2/cmd/nfpm
cp LICENSE CHANGELOG.md install/shipped/hugeguard.catalog install/shipped/*/* \
	install/package/nfpm.yaml install/package/copyright install/package/lintian-overrides \
	install/package/deb/* install/package/rpm/* "$stage/all"
cp -r install/package/selinux "$stage/all/selinux"
cp install/package/selinux.yaml "$stage/all"
cp -r install/doc "$stage/all/doc"
chmod -R u=rwX,go=rX "$stage/all/doc"
CGO_ENABLED=0 "$GO" run -tags manual -ldflags "-X main.built=$VERSION" ./install/hugeguard "$stage/all"
printf 'hugeguard (%s-1) unstable; urgency=medium\n\n  * See /usr/share/doc/hugeguard/changelog.gz.\n\n -- %s  %s\n' \
	"$VERSION" "$MAINTAINER" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")" >"$stage/all/changelog.Debian"
sed '1s/^hugeguard /hugeguard-selinux /' "$stage/all/changelog.Debian" >"$stage/all/changelog-selinux"
cp CHANGELOG.md "$stage/all/changelog"
(cd "$stage/all" && gzip -9n hugeguard.8 hugeguard.conf.5 changelog changelog.Debian changelog-selinux)

# package builds the packages that a configuration of nfpm describes, of the files in a directory.
package() {
	for format in $FORMATS; do
		(cd "$1" && ARCH=$3 "$stage/nfpm" package --config "$2" --packager "$format" --target "$out" >"$stage/said") || { cat "$stage/said" >&2; exit 1; }
	done
}
package "$stage/all" selinux.yaml all
for arch in $ARCHES; do
	cc=$(compiler $arch)
	dir=$stage/$arch
	cp -r "$stage/all" "$dir"
	# The build ID tells versions of the hook apart: libvirt runs the hook, so it can have no --version.
	GOARCH=$arch CGO_ENABLED=0 "$GO" build -trimpath -buildvcs=false -ldflags "-s -w -buildid=$VERSION" -o "$dir/qemu" ./hook/qemu
	GOARCH=$arch CGO_ENABLED=1 CC=$cc "$GO" build -trimpath -buildvcs=false -buildmode=pie -tags libvirt_dlopen \
		-ldflags "-s -w -buildid=$VERSION -X main.built=$VERSION -extldflags '-Wl,-z,relro,-z,now'" -o "$dir/hugeguard" ./install/hugeguard
	package "$dir" nfpm.yaml "$arch"
done
