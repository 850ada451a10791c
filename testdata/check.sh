#!/bin/sh
# Checks every Go file, also below testdata: gofmt, vet and staticcheck, for each set of build tags. vet and staticcheck
# get a package once for each selection of its files. A file that no set selects is an error.
set -eu
cd "$(dirname "$0")/.."
: "${GO:=go}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

find . -name '*.go' -not -path './.*' -not -path './bin/*' -not -path './vendor/*' | sort >"$work/files"
xargs "$("$GO" env GOROOT)/bin/gofmt" -l <"$work/files" >"$work/unformatted"
if [ -s "$work/unformatted" ]; then
	sed 's/^/gofmt would change /' "$work/unformatted" >&2
	exit 1
fi
sed 's|/[^/]*$||' "$work/files" | sort -u >"$work/directories"
: >"$work/seen"
: >"$work/selected"
for tags in '' libvirt_dlopen manual race modular; do
	# One line for each package: its directory and the files that these tags select of it.
	xargs "$GO" list -e -tags "$tags" -f '{{.Dir}}{{range .GoFiles}} {{.}}{{end}}{{range .CgoFiles}} {{.}}{{end}}{{range .TestGoFiles}} {{.}}{{end}}{{range .XTestGoFiles}} {{.}}{{end}}' \
		<"$work/directories" | grep ' ' | sed "s|^$PWD|.|" | sort >"$work/now"
	comm -13 "$work/seen" "$work/now" >"$work/new"
	sort -u "$work/now" "$work/seen" >"$work/both"
	mv "$work/both" "$work/seen"
	awk '{for (i = 2; i <= NF; i++) print $1 "/" $i}' "$work/new" >>"$work/selected"
	packages=$(cut -d ' ' -f 1 "$work/new")
	echo "vet and staticcheck${tags:+ with the tag $tags}: $(echo "$packages" | wc -l) packages"
	# shellcheck disable=SC2086 # one word for each package
	"$GO" vet -tags "$tags" $packages
	# shellcheck disable=SC2086
	"$GO" tool -modfile=testdata/tools/go.mod staticcheck -tags "$tags" $packages
done
sort -u "$work/selected" | comm -23 "$work/files" - >"$work/unchecked"
if [ -s "$work/unchecked" ]; then
	sed 's/$/: no set of build tags in testdata\/check.sh selects this file/' "$work/unchecked" >&2
	exit 1
fi
