# Judges the demand that facts prints, a line "node page_kib kib mode" for each
# guest cell on huge pages, by the shell's own means. Sourced by the hooks.

# holders KIB names those who have touched huge pages of a size.
holders() {
	local pid pages name
	awk '/^Name:/ { name = $2 } /^Pid:/ { pid = $2 } /^HugetlbPages:/ && $2 { print $2, pid, name }' \
		/proc/[0-9]*/status 2>/dev/null | sort -rn | while read -r _ pid name; do
		pages=$(awk -v size="kernelpagesize_kB=$1" '
			/ huge / && $NF == size { for (i = 3; i < NF; i++) if (sub(/^N[0-9]+=/, "", $i)) n += $i }
			END { print n + 0 }' "/proc/$pid/numa_maps" 2>/dev/null)
		((pages > 0)) && printf '%s (pid %s) holds %s, ' "$name" "$pid" "$pages"
	done
}

refuse() {
	local line
	line="$1: $(holders "$2")see numa_maps"
	echo "$line" >&2
	logger -t hugepages -p daemon.err -- "$line" 2>/dev/null
	exit 1
}

demand=$(facts)
[[ $demand ]] || exit 0

declare -A needed total
while read -r node page kib mode; do
	pages=$(((kib + page - 1) / page))
	((total[$page] += pages))
	[[ $mode == strict && $node =~ ^[0-9]+$ ]] && ((needed[$node $page] += pages))
done <<<"$demand"

for key in "${!needed[@]}"; do
	read -r node page <<<"$key"
	free=$(</sys/devices/system/node/node$node/hugepages/hugepages-${page}kB/free_hugepages) || exit 0
	((free >= needed[$key])) ||
		refuse "node $node has $free free huge pages of $page KiB, ${needed[$key]} needed" "$page"
done
for page in "${!total[@]}"; do
	pool=/sys/kernel/mm/hugepages/hugepages-${page}kB
	free=$(<"$pool/free_hugepages") reserved=$(<"$pool/resv_hugepages") || exit 0
	((free - reserved >= total[$page])) ||
		refuse "$((free - reserved)) huge pages of $page KiB are free and not reserved, ${total[$page]} needed" "$page"
done
exit 0
