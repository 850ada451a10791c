package words

import (
	"fmt"
	"slices"
	"strings"

	"hugeguard/guard"
	"hugeguard/guard/fix"
)

// ReserveVDSM returns the lines for vdsm.conf that make oVirt's agent keep pages back (lib/vdsm/hugepages.py, which does
// so only where use_preallocated_hugepages is on, as it is by default). It is nil where there is nothing to reserve.
func ReserveVDSM(r fix.ReserveInVDSM) []string {
	if r.Count == 0 {
		return nil
	}
	return []string{"[performance]", fmt.Sprintf("reserved_hugepage_count = %d", r.Count), fmt.Sprintf("reserved_hugepage_size = %d", r.PageKiB)}
}

// VDSMEdit says where the lines of [ReserveVDSM] go, and what to do then. Python's configparser takes no section twice.
const VDSMEdit = "in /etc/vdsm/vdsm.conf of this host, in its section [performance] if it has one, then run systemctl restart vdsmd"

func reserveInVDSM(r fix.ReserveInVDSM) Fix {
	return Fix{For: "ovirt", What: VDSMEdit + "; then start the guest again",
		Lines: ReserveVDSM(r), Cost: "restarting vdsmd stops no guest; the engine loses sight of the host for a moment",
		short: fmt.Sprintf("reserved_hugepage_count=%d in /etc/vdsm/vdsm.conf", r.Count)}
}

// runInPod says how Kubernetes learns of pages. Up to 1.37 kubelet takes no huge pages in systemReserved, and none in
// reservedMemory that are not there, too (parseResourceList and validateReservedMemory; KEP-6252).
func runInPod(r fix.RunInPod) Fix {
	var who []string
	var pages uint64
	cost := "restarts it"
	for _, h := range r.Holders {
		if h.Kind == guard.HolderOVS {
			cost = "restarts Open vSwitch: the traffic of all guests stops until it runs again"
		}
		who = append(who, process(h))
		for _, n := range h.Pages {
			pages += n
		}
		pages += h.Unplaced
	}
	return Fix{For: "kubernetes", What: fmt.Sprintf("run %s in a pod with this limit, beside one of memory or cpu: kubelet counts the huge pages of pods alone", enumerate(who, 3)),
		Lines: podLimit(r.PageKiB, pages), Cost: cost, short: fmt.Sprintf("run it in a pod with %s", quantityOf(r.PageKiB, pages))}
}

// podLimit is a limit of huge pages in the declaration of a container (kubernetes.io/docs/tasks/manage-hugepages).
func podLimit(kib, pages uint64) []string {
	return []string{"resources:", "  limits:", "    " + quantityOf(kib, pages)}
}

// quantityOf is a number of huge pages as a limit of Kubernetes: "hugepages-2Mi: 1Gi".
func quantityOf(kib, pages uint64) string {
	return fmt.Sprintf("hugepages-%s: %s", quantity(kib), quantity(kib*pages))
}

// quantity is a size as Kubernetes writes it in the fewest digits.
func quantity(kib uint64) string {
	units := []string{"Ki", "Mi", "Gi"}
	i := 0
	for kib > 0 && kib%1024 == 0 && i < len(units)-1 {
		kib, i = kib/1024, i+1
	}
	return fmt.Sprint(kib) + units[i]
}

func raisePodLimit(r fix.RaisePodLimit) Fix {
	var lines []string
	for _, l := range r.Limits {
		lines = append(lines, podLimit(l.PageKiB, l.Pages)...)
	}
	return Fix{For: "pod", What: "declare the pod in which libvirt runs with this limit of huge pages. With KubeVirt, set memory and hugepages.pageSize in the VirtualMachine, not in the pod, and restart it",
		Lines: lines, Cost: "the pod is made again: its guests stop", short: "the pod's limit " + quantityOf(r.Limits[0].PageKiB, r.Limits[0].Pages)}
}

// setStarlingX says what to set (docs.starlingx.io, node_management, "Allocate Host Memory Using the CLI"). The commands
// are for the active controller.
func setStarlingX(s fix.SetStarlingX) Fix {
	function := "application"
	if s.VSwitch {
		function = "vswitch"
	}
	var set []string
	for _, p := range s.Pools {
		option := map[uint64]string{2048: "-2M", 1 << 20: "-1G"}[p.PageKiB]
		if option == "" {
			continue // it knows no others
		}
		set = append(set, fmt.Sprintf("system host-memory-modify -f %s HOST %d %s %d", function, p.Node, option, p.Pages))
	}
	if set == nil {
		return Fix{}
	}
	return Fix{For: "starlingx", What: "on the active controller after source /etc/platform/openrc, with the name of this host for HOST",
		Lines: slices.Concat([]string{"system host-lock HOST"}, set, []string{"system host-unlock HOST"}),
		Cost:  "the lock moves this host's guests away, or stops them; the unlock reboots it", short: set[0] + " (on the locked host)"}
}

// maker says what to change so that a domain changes: a manager makes its domains again at each start.
func maker(m guard.Manager) string {
	switch m {
	case guard.ManagerNova:
		return "the flavor or the image of the instance: Nova makes the domain again at each start"
	case guard.ManagerOVirt:
		return "the virtual machine in oVirt's engine, which makes the domain again at each start"
	case guard.ManagerKubeVirt:
		return "the VirtualMachine: KubeVirt makes the domain again at each start"
	case guard.ManagerOpenNebula:
		return "the virtual machine's template in OpenNebula, which makes the domain again at each start"
	}
	return "the domain (virsh edit)"
}

// pageSetting is what says that a domain takes pages of one of these sizes in KiB.
func pageSetting(m guard.Manager, sizes ...uint64) string {
	switch m {
	case guard.ManagerNova:
		return "hw:mem_page_size of the flavor, or hw_mem_page_size of the image"
	case guard.ManagerOVirt:
		return "the custom property hugepages, in KiB"
	case guard.ManagerKubeVirt:
		return "spec.template.spec.domain.memory.hugepages.pageSize"
	case guard.ManagerOpenNebula:
		return "HUGEPAGE_SIZE of its TOPOLOGY, in MiB"
	}
	var elements []string
	for _, kib := range sizes {
		elements = append(elements, fmt.Sprintf("<page size='%d' unit='KiB'/>", kib))
	}
	return strings.Join(elements, " or ") + " in memoryBacking/hugepages"
}
