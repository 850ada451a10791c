"""A compute host that only pretends: two nodes with 512 pages each, all free, and instances that run nowhere."""
from nova import objects
from nova.virt import fake


class Driver(fake.FakeDriver):
    # Of all less than the real host, so that Nova asks that first.
    vcpus, memory_mb, local_gb = 0, 1536, 3
    capabilities = dict(fake.FakeDriver.capabilities, supports_pcpus=True)

    def migrate_disk_and_power_off(self, *args, **kwargs):
        return '[]'

    def get_available_resource(self, nodename):
        resources = super().get_available_resource(nodename)
        cells = []
        for node in (0, 1):
            cpus = {4 * node + n for n in range(4)}
            pages = [objects.NUMAPagesTopology(size_kb=4, total=300000, used=0),
                     objects.NUMAPagesTopology(size_kb=2048, total=512, used=0)]
            cells.append(objects.NUMACell(
                id=node, cpuset=cpus, pcpuset=cpus, memory=2304, cpu_usage=0, memory_usage=0, pinned_cpus=set(),
                siblings=[{cpu} for cpu in cpus], socket=node, mempages=pages,
                network_metadata=objects.NetworkMetadata(physnets=set(), tunneled=False)))
        resources['numa_topology'] = objects.NUMATopology(cells=cells)._to_json()
        return resources

    def update_provider_tree(self, provider_tree, nodename, allocations=None):
        super().update_provider_tree(provider_tree, nodename, allocations)
        inventory = dict(provider_tree.data(nodename).inventory)
        del inventory['VCPU']
        inventory['PCPU'] = {'total': 8, 'min_unit': 1, 'max_unit': 8, 'step_size': 1, 'allocation_ratio': 1.0, 'reserved': 0}
        provider_tree.update_inventory(nodename, inventory)
