#!/bin/sh
# Prints the version of this source, in a form that dpkg and rpm sort: that of the release tag, 0.2.0, or
# 0.2.0+5.g1234567 for five commits after it; without a tag the version on top of CHANGELOG.md, with ~ and the time and
# name of the commit while that is not released, so that it sorts before the release. Where this is no repository of its
# own, or one that git may not read, the changelog has to do. The tarball of a release has its version in a file.
set -eu
cd "$(dirname "$0")/../.."
if [ -f VERSION ]; then
	cat VERSION
	exit
fi
if [ -e .git ] && tagged=$(git describe --tags --match 'v[0-9]*' 2>/dev/null); then
	echo "${tagged#v}" | sed 's/-\([0-9]*\)-g/+\1.g/; s/-/~/g'
	exit
fi
heading=$(grep -m 1 '^## [0-9]' CHANGELOG.md)
version=$(echo "$heading" | sed 's/^## \([0-9.]*\).*/\1/')
case $heading in
*"not yet released"*)
	commit=unreleased
	if [ -e .git ]; then
		commit=$(TZ=UTC git log -1 --date=format-local:%Y%m%d%H%M%S --format=%cd.%h 2>/dev/null) || commit=unreleased
	fi
	echo "$version~$commit"
	;;
*) echo "$version" ;;
esac
