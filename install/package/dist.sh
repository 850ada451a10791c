#!/bin/sh
# Makes the release of this commit in the directory $1: hugeguard-VERSION.tar.gz, from which distributions build without
# a network, hugeguard-VERSION.cdx.json, a CycloneDX list of what is in the programs, and the checksums of both. One
# commit always makes the same bytes. In the tarball are, beside what git has, the modules that the build needs (vendor),
# debian, hugeguard.spec, and the version. VERSION and SOURCE_DATE_EPOCH default to those of the commit.
set -eu
umask 022
export LC_ALL=C TZ=UTC
case $1 in /*) out=$1 ;; *) out=$PWD/$1 ;; esac
cd "$(dirname "$0")/../.."
: "${GO:=go}" "${VERSION:=$(install/package/version.sh)}" "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct)}"
. install/package/project.sh
export SOURCE_DATE_EPOCH
unset GOFLAGS GOARCH GOOS

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
tree=$work/hugeguard-$VERSION
mkdir -p "$out"
git clone --quiet --no-hardlinks . "$tree"
CGO_ENABLED=0 "$GO" build -mod=readonly -modfile=testdata/tools/go.mod -trimpath -buildvcs=false -o "$work/cyclonedx-gomod" github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod

cd "$tree"
# The tool knows git's name of the version alone.
sbom=hugeguard-$VERSION.cdx.json
CGO_ENABLED=1 GOFLAGS=-tags=libvirt_dlopen "$work/cyclonedx-gomod" app -json -licenses -std -noserial -notimestamp -main install/hugeguard -output "$work/$sbom" . 2>"$work/said" ||
	{ cat "$work/said" >&2; exit 1; }
sed -E "s/(hugeguard@)v[-0-9a-f.]*/\1$VERSION/g; /^    \"component\"/,/^    }/s/(\"version\": )\"v.*\"/\1\"$VERSION\"/" "$work/$sbom" >"$out/$sbom"
rm -rf .git

echo "$VERSION" >VERSION
"$GO" mod vendor
# changelog prints Debian's changelog.
changelog() {
	printf 'hugeguard (%s-1) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- %s  %s\n' \
		"$VERSION" "$MAINTAINER" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")"
}
cp -r install/package/debian debian
changelog >debian/changelog
sed -i "s/@MAINTAINER@/$MAINTAINER/; ${HOMEPAGE:+/^Source:/a Homepage: $HOMEPAGE
}" debian/control
# The modules that the programs have in them, as rpm says that.
CGO_ENABLED=1 "$GO" list -deps -tags libvirt_dlopen -f '{{with .Module}}{{with .Version}}{{.}} {{end}}{{.Path}}{{end}}' ./hook/qemu ./install/hugeguard |
	sed -n 's/^v\([^ ]*\) \(.*\)$/Provides: bundled(golang(\2)) = \1/p' | sort -u >"$work/bundled"
day=$(date -u -d "@$SOURCE_DATE_EPOCH" '+%a %b %d %Y')
sed -e "s|@VERSION@|$VERSION|; s|@DATE@|$day|; s|@MAINTAINER@|$MAINTAINER|; ${HOMEPAGE:+s|^Source0:|URL: $HOMEPAGE\n&|}" \
	-e "/^@BUNDLED@/{r $work/bundled
d}" install/package/rpm/hugeguard.spec.in >hugeguard.spec

chmod -R u=rwX,go=rX .
tarball=hugeguard-$VERSION.tar.gz
tar -c --format=gnu --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -C "$work" "hugeguard-$VERSION" | gzip -9n >"$out/$tarball"
cd "$out"
sha256sum "$tarball" "$sbom" >"hugeguard-$VERSION.sha256"
