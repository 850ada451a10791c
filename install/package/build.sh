#!/bin/sh
# Builds the packages into the directory $1: a .deb and an .rpm for each of ARCHES. The same source gives the same bytes
# wherever, whenever and by whomever it is built with the same Go and C compiler; VERSION and SOURCE_DATE_EPOCH are those
# of the commit unless they are given. Who gives packages to others sets MAINTAINER, "Name <address>".
set -eu
umask 022
export LC_ALL=C TZ=UTC
case $1 in /*) out=$1 ;; *) out=$PWD/$1 ;; esac
cd "$(dirname "$0")/../.."
: "${GO:=go}" "${ARCHES:=amd64 arm64}" "${FORMATS:=deb rpm}" "${VERSION:=$(install/package/version.sh)}"
: "${SOURCE_DATE_EPOCH:=$( ([ -e .git ] && git log -1 --format=%ct 2>/dev/null) || stat -c %Y CHANGELOG.md)}"
: "${MAINTAINER:=hugeguard <packages@hugeguard.invalid>}"
GLIBC=2.34 # the oldest that the command runs with: a test holds this against the program
export VERSION SOURCE_DATE_EPOCH MAINTAINER GLIBC
# What somebody set for other builds would show in the bytes.
unset GOFLAGS CGO_CFLAGS CGO_CPPFLAGS CGO_LDFLAGS GOAMD64 GOARM64 GOEXPERIMENT GOARCH CC

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$out" "$stage/all"
"$GO" build -modfile=testdata/tools/go.mod -trimpath -o "$stage/nfpm" github.com/goreleaser/nfpm/v2/cmd/nfpm
cp LICENSE CHANGELOG.md install/hugeguard.catalog install/systemd/* install/prometheus/* install/grafana/* \
	install/package/nfpm.yaml install/package/copyright install/package/lintian-overrides \
	install/package/deb/* install/package/rpm/* "$stage/all"
cp -r install/doc "$stage/all/doc"
chmod -R u=rwX,go=rX "$stage/all/doc"
CGO_ENABLED=0 "$GO" run -tags manual -ldflags "-X main.built=$VERSION" ./install/hugeguard "$stage/all"
printf 'hugeguard (%s-1) unstable; urgency=medium\n\n  * See /usr/share/doc/hugeguard/changelog.gz.\n\n -- %s  %s\n' \
	"$VERSION" "$MAINTAINER" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")" >"$stage/all/changelog.Debian"
cp CHANGELOG.md "$stage/all/changelog"
(cd "$stage/all" && gzip -9n hugeguard.8 hugeguard.conf.5 changelog changelog.Debian)

for arch in $ARCHES; do
	case $arch in
	amd64) cc=x86_64-linux-gnu-gcc ;;
	arm64) cc=aarch64-linux-gnu-gcc ;;
	*) echo "build.sh: no package is made for $arch" >&2; exit 1 ;;
	esac
	if ! command -v $cc >/dev/null; then
		echo "build.sh: $cc is missing (on Debian: apt install gcc-${cc%-gcc})" >&2
		exit 1
	fi
	dir=$stage/$arch
	cp -r "$stage/all" "$dir"
	# The build ID tells the versions of the hook apart, which libvirt runs without asking for any.
	GOARCH=$arch CGO_ENABLED=0 "$GO" build -trimpath -buildvcs=false -ldflags "-s -w -buildid=$VERSION" -o "$dir/qemu" ./hook/qemu
	GOARCH=$arch CGO_ENABLED=1 CC=$cc "$GO" build -trimpath -buildvcs=false -buildmode=pie -tags libvirt_dlopen \
		-ldflags "-s -w -buildid=$VERSION -X main.built=$VERSION -extldflags '-Wl,-z,relro,-z,now'" -o "$dir/hugeguard" ./install/hugeguard
	for format in $FORMATS; do
		(cd "$dir" && ARCH=$arch "$stage/nfpm" package --packager "$format" --target "$out" >"$stage/said") || { cat "$stage/said" >&2; exit 1; }
	done
done
