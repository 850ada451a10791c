#!/bin/bash
# The guard's check as a site might write it for speed: one awk over the XML,
# which relies on libvirt printing one element a line. It knows guest cells,
# and binding to one node each.
[[ $2/$3 == prepare/begin ]] || exit 0

facts() {
	awk -F"'" '
	function attribute(name,   i) {
		for (i = 1; i < NF; i += 2)
			if ($i ~ " " name "=$") return $(i + 1)
	}
	function tune(cell) {
		mode[cell] = attribute("mode")
		node[cell] = attribute("nodeset")
	}
	/<memoryBacking>/,/<\/memoryBacking>/ {
		if (/<hugepages\/>/) master = 2048
		if (/<page /) {
			cell = attribute("nodeset")
			if (cell == "") master = attribute("size"); else size[cell] = attribute("size")
		}
	}
	/<numatune>/,/<\/numatune>/ {
		if (/<memory /) tune("all")
		if (/<memnode /) tune(attribute("cellid"))
	}
	/<numa>/,/<\/numa>/ {
		if (/<cell /) memory[attribute("id")] = attribute("memory")
	}
	END {
		for (cell in memory) {
			page = cell in size ? size[cell] : master
			where = cell in node ? cell : "all"
			if (page > 4) print (node[where] == "" ? "any" : node[where]), page, memory[cell], mode[where]
		}
	}'
}
. "${0%/*}/judge.bash"
