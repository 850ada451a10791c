#!/bin/sh
# Updates the libraries that this module requires, and the programs that the build and the checks fetch, to their latest
# releases, with their sums. Where the proxy does not have the latest release, or does not say which that is, the one that
# is required stays, and is named.
set -eu
cd "$(dirname "$0")/../.."
: "${GO:=go}"
left=0

# latest DIRECTORY FLAG NAME gets the latest release, or puts back the files that say which is required.
latest() (
	cd "$1"
	cp go.mod go.mod.before
	cp go.sum go.sum.before
	# A tool whose own requirements cannot be had shows that only when it is built.
	if "$GO" get $2 "$3@latest" >update.log 2>&1 && { [ -z "$2" ] || { "$GO" mod tidy && "$GO" build -o /dev/null "$3"; } >>update.log 2>&1; }; then
		rm go.mod.before go.sum.before update.log
		return 0
	fi
	mv go.mod.before go.mod
	mv go.sum.before go.sum
	echo "$3 stays as it is: $(grep -v "^go: downloading" update.log | tail -n 1)" >&2
	rm update.log
	return 1
)

for module in $(sed -n 's/^\t\([^ ]*\) v.*/\1/p' go.mod); do
	latest . '' "$module" || left=$((left + 1))
done
"$GO" mod tidy
for tool in $(sed -n '/^tool (/,/^)/s/^\t//p' testdata/tools/go.mod); do
	latest testdata/tools -tool "$tool" || left=$((left + 1))
done
(cd testdata/tools && "$GO" mod tidy)
git --no-pager diff --stat -- go.mod go.sum testdata/tools
echo "now run the tests; $left modules could not be updated"
