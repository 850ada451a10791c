#!/usr/bin/python3
"""The guard's check as a site's own hook in Python: a real XML parser and the standard library."""

import sys


def refuse(why, page):
    holders = ", ".join("%s (pid %d) holds %d" % holder for holder in find_holders(page))
    print("%s: %s" % (why, holders or "no holder seen"), file=sys.stderr)
    import syslog

    syslog.openlog("hugepages", 0, syslog.LOG_DAEMON)
    syslog.syslog(syslog.LOG_ERR, why)
    sys.exit(1)


def find_holders(page):
    """Who has touched huge pages of a size: (name, pid, pages), the largest first."""
    import os

    size = "kernelpagesize_kB=%d" % page
    holders = []
    for pid in os.listdir("/proc"):
        if not pid.isdigit():
            continue
        try:
            with open("/proc/%s/status" % pid) as f:
                status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
            if int(status.get("HugetlbPages", "0 kB").split()[0]) == 0:
                continue
            pages = 0
            with open("/proc/%s/numa_maps" % pid) as f:
                for line in f:
                    words = line.split()
                    if "huge" in words and size in words:
                        pages += sum(int(w.split("=")[1]) for w in words if w[0] == "N" and w[1:2].isdigit())
            if pages:
                holders.append((status["Name"], int(pid), pages))
        except OSError:
            continue
    return sorted(holders, key=lambda h: -h[2])


def read(path):
    with open(path) as f:
        return int(f.read())


def nodeset(text):
    nodes = set()
    for part in text.split(","):
        first, _, last = part.strip("^").partition("-")
        span = range(int(first), int(last or first) + 1)
        nodes = nodes.difference(span) if part.startswith("^") else nodes.union(span)
    return frozenset(nodes)


def main():
    if sys.argv[2:4] != ["prepare", "begin"]:
        return
    import xml.etree.ElementTree as ElementTree

    domain = ElementTree.parse(sys.stdin).getroot()
    hugepages = domain.find("memoryBacking/hugepages")
    if hugepages is None:
        return
    sizes, master = {}, None
    for page in hugepages.findall("page"):
        if page.get("nodeset") is None:
            master = int(page.get("size"))
        else:
            for cell in nodeset(page.get("nodeset")):
                sizes[cell] = int(page.get("size"))
    default = domain.find("numatune/memory")
    memnodes = {int(m.get("cellid")): m for m in domain.findall("numatune/memnode")}
    needed, total = {}, {}
    for cell in domain.findall("cpu/numa/cell"):
        number = int(cell.get("id"))
        page = sizes.get(number, master)
        if page is None or page <= 4:
            continue
        pages = -(-int(cell.get("memory")) // page)
        total[page] = total.get(page, 0) + pages
        tune = memnodes.get(number, default)
        if tune is not None and tune.get("mode", "strict") == "strict":
            key = nodeset(tune.get("nodeset")), page
            needed[key] = needed.get(key, 0) + pages
    for (nodes, page), pages in needed.items():
        free = sum(
            read("/sys/devices/system/node/node%d/hugepages/hugepages-%dkB/free_hugepages" % (node, page))
            for node in nodes
        )
        if free < pages:
            refuse("nodes %s have %d free huge pages of %d KiB, %d needed" % (sorted(nodes), free, page, pages), page)
    for page, pages in total.items():
        pool = "/sys/kernel/mm/hugepages/hugepages-%dkB/" % page
        free = read(pool + "free_hugepages") - read(pool + "resv_hugepages")
        if free < pages:
            refuse("%d free huge pages of %d KiB that nobody has reserved, %d needed" % (free, page, pages), page)


main()
