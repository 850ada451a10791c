#!/bin/bash
# The guard's check as most sites write it: a grep and a sed for each fact. It
# relies on libvirt printing one element a line, and knows guest cells, and
# binding to one node each.
[[ $2/$3 == prepare/begin ]] || exit 0

xml=$(cat)
find() { grep "$1" <<<"$xml" | sed -n "s/.* $2='\([^']*\)'.*/\1/p"; }

facts() {
	grep -q '<hugepages' <<<"$xml" || return
	local cell page
	for cell in $(find '<cell .*memory=' id); do
		page=$(find "<page .*nodeset='$cell'" size)
		page=${page:-$(find "<page size='[0-9]*' unit='KiB'/>" size)}
		((${page:=2048} > 4)) || continue
		tune=$(grep "<memnode cellid='$cell'" <<<"$xml") || tune=$(grep '<memory mode=' <<<"$xml")
		node=$(sed -n "s/.*nodeset='\([^']*\)'.*/\1/p" <<<"$tune")
		mode=$(sed -n "s/.*mode='\([^']*\)'.*/\1/p" <<<"$tune")
		echo "${node:-any} $page $(find "<cell id='$cell'" memory) $mode"
	done
}
. "${0%/*}/judge.bash"
