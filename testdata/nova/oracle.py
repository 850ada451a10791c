# What Debian's Nova says: of configurations (read), of where an instance goes (place), of what is free (free), of other tools' files (format).
import configparser
import json
import os
import re
import sys
import tempfile
from xml.etree import ElementTree

import nova.conf
import yaml
from nova import objects
from nova.virt import hardware


def reserved(arguments, files, dirs):
    """What nova-compute reserves, as it is started with arguments and finds default files and directories."""
    nova.conf.CONF(arguments, project='nova', prog='nova-compute', version='1',
                   default_config_files=files, default_config_dirs=dirs)
    return hardware.numa_get_reserved_huge_pages()


def read():
    """Answers each case on a line: {"arguments", "files", "dirs"}."""
    for line in sys.stdin:
        case = json.loads(line)
        try:
            pools = reserved(case['arguments'], case['files'], case['dirs'])
            answer = {'pools': [[node, size, count] for node, sizes in pools.items() for size, count in sizes.items()]}
        except Exception as e:
            answer = {'error': type(e).__name__}
        print(json.dumps(answer))


def cpus(text):
    found = set()
    for part in text.split(','):
        first, _, last = part.partition('-')
        found.update(range(int(first), int(last or first) + 1))
    return found


def host(root, pages_reserved):
    """The host as nova-compute shows it to the scheduler before it counts instances."""
    cells = []
    nodes = os.path.join(root, 'sys/devices/system/node')
    for name in sorted(os.listdir(nodes)):
        if not re.fullmatch(r'node\d+', name):
            continue
        node = int(name[4:])

        def value(file):
            with open(os.path.join(nodes, name, file)) as f:
                return f.read().strip()
        total = int(re.search(r'MemTotal:\s+(\d+) kB', value('meminfo')).group(1))
        pages = []
        for size in sorted(int(d[len('hugepages-'):-len('kB')]) for d in os.listdir(os.path.join(nodes, name, 'hugepages'))):
            pages.append(objects.NUMAPagesTopology(
                size_kb=size, total=int(value('hugepages/hugepages-%dkB/nr_hugepages' % size)), used=0,
                reserved=pages_reserved.get(node, {}).get(size, 0)))
        small = total - sum(p.size_kb * p.total for p in pages)
        pages.insert(0, objects.NUMAPagesTopology(size_kb=4, total=small // 4, used=0, reserved=0))
        cpuset = cpus(value('cpulist'))
        cells.append(objects.NUMACell(
            id=node, cpuset=cpuset, pcpuset=set(), memory=total // 1024, cpu_usage=0, memory_usage=0, pinned_cpus=set(),
            siblings=[{cpu} for cpu in cpuset], mempages=pages, socket=0,
            network_metadata=objects.NetworkMetadata(physnets=set(), tunneled=False)))
    return objects.NUMATopology(cells=cells)


def instance(file):
    """A domain as Nova knows the instance: its cells on the nodes that they are bound to."""
    domain = next(ElementTree.parse(file).getroot().iter('domain'))
    bound = {m.get('cellid'): int(m.get('nodeset')) for m in domain.iter('memnode')}
    cells = []
    for cell in domain.iter('cell'):
        cells.append(objects.InstanceNUMACell(
            id=bound[cell.get('id')], cpuset=cpus(cell.get('cpus')), pcpuset=set(), memory=int(cell.get('memory')) // 1024,
            pagesize=int(next(domain.iter('page')).get('size')), cpu_policy=None))
    return objects.InstanceNUMATopology(cells=cells)


def occupied(root, conf):
    """The host as the scheduler knows it with its running instances, under a configuration."""
    topology = host(root, reserved([], [conf], []))
    running = os.path.join(root, 'run/libvirt/qemu')
    for file in sorted(os.listdir(running)):
        if file.endswith('.xml'):
            topology = hardware.numa_usage_from_instance_numa(topology, instance(os.path.join(running, file)))
    return topology


def place(root, domain):
    """Answers each case on a line, {"conf", "nodes"}: the nodes, among those, that Nova gives to a domain's cells, or null."""
    limits = objects.NUMATopologyLimits(cpu_allocation_ratio=16.0, ram_allocation_ratio=1.5)
    for line in sys.stdin:
        case = json.loads(line)
        topology = occupied(root, case['conf'])
        topology.cells = [cell for cell in topology.cells if cell.id in case['nodes']]
        found = hardware.numa_fit_instance_to_host(topology, instance(domain), limits=limits)
        print(json.dumps(found and [cell.id for cell in found.cells]))


def free(root, conf):
    """The huge pages that Nova believes free: [node, size, pages]."""
    print(json.dumps([[cell.id, pages.size_kb, pages.total - pages.used - pages.reserved]
                      for cell in occupied(root, conf).cells for pages in cell.mempages if pages.size_kb > 4 and pages.total]))


def format(name):
    """What a tool's file says, as that tool's parser reads it: [node, size in KiB, pages]."""
    text = sys.stdin.read()
    pools = []

    def settings(values):
        for value in values:
            pair = dict(part.split(':') for part in value.split(','))
            pools.append([int(pair['node']), int(pair['size']), int(pair['count'])])

    def ini(text):
        with tempfile.NamedTemporaryFile('w', suffix='.conf') as f:
            f.write(text)
            f.flush()
            for node, sizes in reserved([], [f.name], []).items():
                pools.extend([node, size, count] for size, count in sizes.items())

    if name in ('nova', 'kolla'):  # kolla-ansible merges files with oslo.config's own parser; what comes later replaces an option
        ini(text)
    elif name == 'vdsm':  # vdsm/config.py reads with it, and hugepages.py compares the size as text
        said = configparser.ConfigParser()
        said.read_string(text)
        pools = [[None, int(said.get('performance', 'reserved_hugepage_size')), said.getint('performance', 'reserved_hugepage_count')]]
    elif name == 'json':
        pools = [[p['node'], p['page_kib'], p['count']] for p in json.loads(text)]
    else:
        said = yaml.safe_load(text)
        if name == 'tripleo':
            settings(said['parameter_defaults']['NovaReservedHugePages'])
        elif name == 'rhoso':
            ini(said['data']['99-nova-hugeguard.conf'])
        elif name == 'openstack-ansible':  # config_template takes a mapping to nothing for several values
            settings(said['nova_nova_conf_overrides']['DEFAULT']['reserved_huge_pages'])
        elif name == 'kubelet':
            units = {'Ki': 1, 'Mi': 1 << 10, 'Gi': 1 << 20}
            for node in said['reservedMemory']:
                for resource, total in node['limits'].items():
                    size = resource[len('hugepages-'):]
                    kib = int(size[:-2]) * units[size[-2:]]
                    pools.append([node['numaNode'], kib, int(total[:-2]) * units[total[-2:]] // kib])
    print(json.dumps(sorted(pools)))


objects.register_all()
{'read': read, 'place': place, 'free': free, 'format': format}[sys.argv[1]](*sys.argv[2:])
