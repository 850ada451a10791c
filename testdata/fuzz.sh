#!/bin/sh
# Runs every fuzz target of the module for a time: fuzz.sh 30s. It spends little of it on making inputs smaller, because
# one of our domains can take a minute.
set -eu
cd "$(dirname "$0")/.."
for package in $(${GO:-go} list ./...); do
	for target in $(${GO:-go} test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
		echo "== $package $target for $1"
		${GO:-go} test -run '^$' -fuzz "^$target\$" -fuzztime "$1" -fuzzminimizetime 1s "$package"
	done
done
