// Package guard judges whether the huge pages of a libvirt domain are available.
//
// [Judge] takes a [Demand], the memory backends that QEMU will create, and a [Host], what the kernel has to give and
// who holds the rest. It returns a [Verdict]: what will become of the launch, why, and who has the pages. A verdict is
// facts. Package fix adds what would help, and package words puts both into words. Package domain makes the demand of
// a domain's XML, and hook/survey makes the host of a running system or of a capture. Everything here is pure: no
// files, no clock, no environment, so that every verdict can be played again.
//
// # What QEMU will ask for
//
// libvirt turns each guest cell, each memory device, or the RAM as a whole into one memory backend
// (qemuBuildMemoryBackendProps). A backend has a size, a page size, a policy and a set of host nodes. QEMU maps the
// backend, binds it with mbind(), and touches every page before the guest runs (qemu_prealloc_mem), but for virtio-mem,
// which the guest fills later. If one page cannot be had, QEMU ends.
//
// Two things confine the pages: the policy of the backend, and the cpuset of QEMU's control group. libvirt writes that
// cpuset.mems for the modes strict and restrictive (qemuProcessSetupEmulator), within what the groups above leave. A
// cpuset that has no node in common with them does not take effect in cgroup version 2
// (Documentation/admin-guide/cgroup-v2.rst, cpuset.mems.effective).
//
//	strict                  bind: the nodes it names, and no other
//	preferred, interleave   its nodes first, then any of the cpuset
//	restrictive             QEMU is told nothing: any of the cpuset
//	none                    any of the cpuset
//
// # What the kernel tests
//
// The kernel tests twice, and the simulation repeats both tests (shortage.go).
//
// When a backend is mapped, the kernel reserves its pages (hugetlb_acct_memory). A reservation lies on no node: it
// fails if the free pages of all nodes, plus the surplus pages that may still be made, less what others were promised
// (resv_huge_pages), are too few. Under a cpuset or a policy of the process it also fails if the free pages of the
// allowed nodes are too few (allowed_mems_nr).
//
// When a page is touched, it must come from an allowed node (alloc_hugetlb_folio). A reservation does not help there: a
// launch can be mapped in full and fail at the touch.
//
// Beside the pools there are limits, tested when pages are mapped or touched: size= of the hugetlbfs mount
// (hugepage_subpool_get_pages), and hugetlb.*.max and hugetlb.*.rsvd.max of the control groups
// (hugetlb_cgroup_charge_cgroup).
//
// # What must fail
//
// Judge refuses only what must fail, whatever the order of events. So every test is taken at its most lenient. Backends
// that share nodes compete for the same pages, in an order that nobody knows: a launch must fail if no assignment of
// pages to backends serves all of them. That is a flow from backends to nodes (flow.go). Where there is none, Hall's
// theorem gives the backends that want more than their nodes have, which is what the finding names. Surplus pages that
// overcommit allows count for the guest, on any node, but not where a mapping is tested against the nodes of a cpuset
// or of a process's policy.
//
// What can fail and need not is a warning (risks.go): pages that depend on the order, on surplus pages, on what numad
// will choose. To warn it takes the worst order (contest.go).
//
// # What differs between releases
//
// Whether libvirt may use cpusets, which cpuset it writes, whether QEMU touches memory from CPUs of its nodes
// (thread-context) or all backends side by side: the first is a setting of the host, each of the others came with a
// release, and distributions carry some of them back. rules.go has one row for each rule. [Host.Releases] says what is
// known. The launch is played under every set of rules that may hold, as far as they matter to it (play.go). If it
// fails under all, it must fail; if under some, that is a warning, which says when. Knowing more never turns an allowed
// launch into a warning or a refusal.
//
// # Who else is starting
//
// A guest that was allowed a moment ago may not have touched its pages. What it is still to take is its [Claim], and
// comes before this launch (claims.go). Claimed pages may be mapped already: then they are among the pool's reserved
// ones, and do not count twice. The kernel takes a page before it clears it and shows whose it is only afterwards
// (hugetlb_no_page). Pages that may be in between are taken already where a refusal is decided, and still to be taken
// where a warning is.
//
// # Who is to blame
//
// The cause of a refusal is found by the same judgement on another host (cause.go): would the launch fit if no files
// were left over, if nothing were reserved, without Open vSwitch, without one process, without the starting guests?
// What an admin can act on first is asked first. Whether the pool would be too small even if idle is asked before all
// these. Holders' pages whose node the kernel does not show are placed where the counters leave no other room
// (holders.go). Guests use their pages as they should, so unexplained pages are asked about before
// them: the cause is "unaccounted" then, "guests" otherwise, and "unaccounted", too, if nothing explains it.
//
// Then come the numbers beside the cause (refuse.go). What helps is left to package fix, which asks the judgement about
// the host as it would be then: what nova.conf should reserve so that Nova does not place a guest there again, how
// large a pool should be, which files to delete.
//
// # What is left to others
//
// What libvirt itself refuses with a clear message is left to it: a node that does not exist, a page size without a
// mount. Pages that are huge elsewhere and ordinary here are not judged. Neither are files over whose mount another
// file system lies, of which a warning tells (resolve.go).
package guard
