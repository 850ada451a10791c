#!/bin/sh
# Prints how much of hook with the packages below it, sysfs, guard, guard/domain, guard/fix and guard/words the fuzz
# targets' seeds reach. The fast tests run these seeds. Fails below the given percentage: seeds.sh 60.
set -eu
cd "$(dirname "$0")/.."
profile=$(mktemp)
trap 'rm -f "$profile"' EXIT
failed=0
for pattern in hook/... sysfs guard guard/domain guard/fix guard/words; do
	packages=$(${GO:-go} list "./$pattern" | grep -v 'test$' | paste -sd,) # without what the tests share
	${GO:-go} test -run '^Fuzz' -coverpkg="$packages" -coverprofile="$profile" ./guard/... ./hook/... ./sysfs >/dev/null
	${GO:-go} tool cover -func="$profile" | awk -v package="$pattern" -v least="$1" '
		/^total:/ { print package ": " $NF; if ($NF + 0 < least) { print package ": less than " least "%"; exit 1 } }' || failed=1
done
exit $failed
