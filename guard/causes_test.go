package guard

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// start is a launch on a host.
type start struct {
	demand Demand
	host   Host
}

// TestEveryCauseHasItsFix: every cause is that of some launch, and not of another that is all but the same; the line
// says both the cause and the node where it is cut; there is something to do, in the entry and in the line; and the verdict knows whether others can make the pages.
func TestEveryCauseHasItsFix(t *testing.T) {
	bound := guest(t, "strict:0", cell{64, "strict:0"})
	with := func(change func(*Backend)) Demand {
		changed := bound
		changed.Backends = slices.Clone(bound.Backends)
		change(&changed.Backends[0])
		return changed
	}
	odd := with(func(b *Backend) { b.Bytes -= 1 << 20; b.ExactBytes = b.Bytes })
	foreign := with(func(b *Backend) { b.PageKiB, b.Memfd = 512<<10, true })
	withoutCPU, withoutMemory := pages(64, 64), pages(64, 64)
	withoutCPU.Nodes, withoutMemory.Nodes = slices.Clone(withoutCPU.Nodes), slices.Clone(withoutMemory.Nodes)
	withoutCPU.Nodes[0].HasCPU, withoutMemory.Nodes[0].HasMemory = false, false
	debian12 := func(h Host) Host { return h.serving(9_000_000, 7_002_022).usingCpuset(true) }
	mounted := func(most uint64) Host {
		h := pages(64, 0)
		h.Mounts = slices.Clone(h.Mounts)
		h.Mounts[0].Limit = &PageLimit{PageKiB: 2048, Reserved: true, Pages: most}
		return h
	}
	limited := func(most uint64) Host {
		const file = machineSlice + "/hugetlb.2MB.max"
		return below(pages(64, 0), Cgroup{Path: machineSlice, Limits: []PageLimit{{PageKiB: 2048, File: file, Pages: most}}})
	}
	pinned := func(cpu string) Demand { return parse(t, pinnedXML("<vcpu cpuset='"+cpu+"'>1</vcpu>")) }
	has := map[Cause]bool{}
	for _, test := range []struct {
		name   string
		cause  Cause
		shown  string // of the line, where Nova shows 30 bytes of it
		is     start
		allBut start  // another cause's, or nobody's
		fix    string // the best fix in words; "" for none
		short  string // in the line; "" for the fix itself
		lack   bool   // of pages that others can make, or give back
	}{
		{"Open vSwitch", CauseOVS, "OVS-DPDK holds node 0's 2M pag", start{bound, pages(24, 0).heldBy(HolderOVS, "ovs-vswitchd", 7, 0, 40)},
			start{bound, pages(24, 0).heldBy(HolderOVS, "ovs-vswitchd", 7, 0, 39)},
			"host: echo 104 > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages, cat /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "fix: echo 104 > ", true},
		{"a process", CauseOtherHolder, "vpp holds node 0's 2M pages: 2", start{bound, pages(24, 0).heldBy(HolderProcess, "vpp", 7, 0, 40)},
			start{bound, pages(24, 0).heldBy(HolderProcess, "vpp", 7, 0, 39)},
			"host: echo 104 > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages, cat /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "fix: echo 104 > ", true},
		{"a guest", CauseGuests, "guests fill node 0's 2M pages:", start{bound, pages(24, 64).heldBy(HolderGuest, "a", 7, 0, 40)},
			start{bound, pages(24, 64).heldBy(HolderGuest, "a", 7, 0, 39)},
			"host: echo 104 > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages, cat /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "fix: echo 104 > ", true},
		{"a guest that starts", CauseStartingGuests, "starting guests take node 0's ", start{bound, pages(64, 0).started("a", "0", 1, 0)},
			start{bound, pages(65, 0).started("a", "0", 1, 0)}, "", "fix: try again when they have started", true},
		{"files", CauseLeftoverFiles, "leftover files hold node 0's 2", start{bound, pages(24, 0).leftBehind(0, 40, "/h/x")},
			start{bound, pages(24, 0).leftBehind(0, 39, "/h/x")}, "host: rm /h/x", "fix: rm /h/x", true},
		{"promised", CauseKernelReserved, "promises hold this host's 2M p", start{bound, pages(64, 0).promisedTo("lazy", 5, 1)}, start{bound, pages(65, 0).promisedTo("lazy", 5, 1)},
			"host: echo 65 > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages, cat /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "fix: echo 65 > ", true},
		{"a small pool", CausePoolTooSmall, "node 0 has too few 2M pages: 6", start{bound, pages(63, 0)}, start{bound, pages(64, 0)},
			"host: echo 64 > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages, cat /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "fix: echo 64 > ", true},
		{"no pool", CausePoolMissing, "node 0 has no 2M pages at all:", start{bound, pages(0, 64)}, start{bound, pages(1, 63)},
			"host: echo 64 > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages, cat /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "fix: echo 64 > ", true},
		{"a size that is not there", CausePageSizeUnsupported, "this kernel has no 512M pages:", start{foreign, pages(64, 64)},
			start{with(func(b *Backend) { b.Memfd = true }), pages(64, 64)},
			"domain: give ram-node0 2M or 1G pages (<page size='2048' unit='KiB'/> or <page size='1048576' unit='KiB'/> in memoryBacking/hugepages)", "", false},
		{"a limit of the mount", CauseMountLimit, "mount limit is too low for 2M ", start{bound, mounted(63)}, start{bound, mounted(64)},
			"host: mount -t hugetlbfs -o pagesize=2048K,size=134217728 hugetlbfs /dev/hugepages", "fix: mount -t hugetlbfs ", true},
		{"a limit of a control group", CauseCgroupLimit, "cgroup limit is too low for 2M", start{bound, limited(63)}, start{bound, limited(64)},
			"host: echo 134217728 > " + machineSlice + "/hugetlb.2MB.max", "fix: echo 134217728 > ", true},
		{"odd", CauseSizeMismatch, "size is no multiple of 2M page", start{odd, pages(64, 64)}, start{bound, pages(64, 64)}, "domain: make ram-node0 128 MiB", "", false},
		{"blocks smaller than a page", CauseSizeMismatch, "blocks are smaller than a 2M p", start{with(func(b *Backend) { b.Block = 1024 }), pages(64, 64)},
			start{with(func(b *Backend) { b.Block = 2048 }), pages(64, 64)}, "domain: make the blocks of ram-node0 2 MiB", "", false},
		{"no memory there", CauseBindingImpossible, "cannot bind RAM to node 0 for ", start{bound, withoutMemory}, start{bound, pages(64, 64)}, "domain: bind ram-node0 to node 1", "", false},
		{"no CPU there", CauseBindingImpossible, "cannot bind RAM to node 0 for ", start{bound, debian12(withoutCPU)}, start{bound, debian12(pages(64, 64))}, "domain: bind ram-node0 to node 1", "", false},
		{"kept from the CPUs there", CauseBindingImpossible, "cannot bind RAM to node 0 for ", start{bound, debian12(below(twoCPUs(64, 64), runningOn(3)))},
			start{bound, debian12(below(twoCPUs(64, 64), runningOn(1, 3)))}, "domain: bind ram-node0 to node 1", "", false},
		{"pinned elsewhere", CauseBindingImpossible, "cannot bind RAM to node 1 for ", start{pinned("0"), debian12(twoCPUs(64, 64))}, start{pinned("0,2"), debian12(twoCPUs(64, 64))},
			"domain: pin the emulator to CPUs of node 1, too (cputune/emulatorpin)", "", false},
		{"gone", CauseUnaccounted, "unexplained use of node 0's 2M", start{bound, pages(24, 0).heldBy(HolderGuest, "a", 1, 0, 3).gone(0, 37)},
			start{bound, pages(64, 0).heldBy(HolderGuest, "a", 1, 0, 3).gone(0, 37)}, "host: echo 104 > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages, cat /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "fix: echo 104 > ", true},
	} {
		has[test.cause] = true
		v := JudgeAndFix(test.is.demand, test.is.host)
		best := ""
		if fixes := Fixes(v); len(fixes) > 0 {
			best = fixes[0].For + ": " + strings.Join(fixes[0].Lines, ", ")
		}
		_, words, _ := strings.Cut(test.fix, ": ")
		if v.Cause != test.cause || best != test.fix || !strings.Contains(Summary(v), "; "+cmp.Or(test.short, "fix: "+words)) {
			t.Errorf("%s: %s, %q, want %q: %s", test.name, v.Cause, best, test.fix, Summary(v))
		}
		if test.fix == "" && test.short == "" {
			t.Errorf("%s: there is nothing to do", test.name)
		}
		if line := Line(v); line[:30] != test.shown || !strings.HasPrefix(line, Summary(v)+"; more: hugeguard explain") {
			t.Errorf("%s: the line is %s\nwant at its begin %s", test.name, line, test.shown)
		}
		if v.Shortage() != test.lack {
			t.Errorf("%s: others can make the pages: %t, want %t", test.name, v.Shortage(), test.lack)
		}
		if v := JudgeAndFix(test.allBut.demand, test.allBut.host); v.Cause == test.cause {
			t.Errorf("%s: one that is all but the same is refused for it, too: %s", test.name, Summary(v))
		}
	}
	for _, cause := range Causes() {
		if !has[cause] {
			t.Errorf("%s: no launch has that cause here", cause)
		}
	}
}

// TestEveryCauseHasItsID: every constant is among the causes, and every cause has a MESSAGE_ID of its own, as warnings
// have.
func TestEveryCauseHasItsID(t *testing.T) {
	constants := map[Cause]bool{}
	for name, value := range constantsOf(t, "verdict.go") {
		if strings.HasPrefix(name, "Cause") {
			constants[Cause(value)] = true
		}
	}
	for _, cause := range Causes() {
		if !constants[cause] {
			t.Errorf("%s is no constant, or is listed twice", cause)
		}
		delete(constants, cause)
	}
	for cause := range constants {
		t.Errorf("%s is a constant, and not among the causes", cause)
	}
	seen := map[string]Cause{}
	for _, cause := range append(Causes(), "") {
		id := messageIDs[cause]
		if len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" || id[12] != '4' || !strings.Contains("89ab", id[16:17]) {
			t.Errorf("%s: %q is no random id", cause, id)
		}
		if other, ok := seen[id]; ok {
			t.Errorf("%s and %s share %s", cause, other, id)
		}
		seen[id] = cause
	}
	if len(seen) != len(messageIDs) {
		t.Errorf("there are %d causes with warnings, and %d ids", len(seen), len(messageIDs))
	}
}

// constantsOf returns the constants of a file that are strings, by name.
func constantsOf(t *testing.T, file string) map[string]string {
	values := map[string]string{}
	ast.Inspect(parsed(t, file), func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == 1 {
			values[spec.Names[0].Name] = text(spec.Values[0])
		}
		return true
	})
	return values
}

// parsed returns a Go file's syntax.
func parsed(t *testing.T, file string) *ast.File {
	t.Helper()
	syntax, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return syntax
}

// text returns what a string literal says, "" of all else.
func text(e ast.Expr) string {
	if literal, ok := e.(*ast.BasicLit); ok && literal.Kind == token.STRING {
		text, _ := strconv.Unquote(literal.Value)
		return text
	}
	return ""
}

// TestEveryCauseHappens: a test of the live host, or a scenario of the two-node machine, makes it happen for real and
// wants its name in the journal.
func TestEveryCauseHappens(t *testing.T) {
	happens := map[string]bool{}
	live, err := filepath.Glob("../testdata/livehost/*_test.go")
	if err != nil || len(live) == 0 {
		t.Fatal("no tests of the live host:", err)
	}
	for _, file := range live {
		ast.Inspect(parsed(t, file), func(n ast.Node) bool {
			if pair, ok := n.(*ast.KeyValueExpr); ok && text(pair.Key) == "HUGEGUARD_CAUSE" {
				happens[text(pair.Value)] = true
			}
			return true
		})
	}
	ast.Inspect(parsed(t, "../testdata/numabox/scenario.go"), func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Names[0].Name != "causes" {
			return true
		}
		for _, element := range spec.Values[0].(*ast.CompositeLit).Elts {
			happens[text(element.(*ast.KeyValueExpr).Value)] = true
		}
		return false
	})
	for _, cause := range Causes() {
		if !happens[string(cause)] {
			t.Errorf(`%s: no test in testdata/livehost wants "HUGEGUARD_CAUSE": %[1]q, and no scenario in testdata/numabox has it among causes`, cause)
		}
	}
}

// TestEveryCauseIsExplained: the message catalog explains every cause, and warnings, and takes in only fields that each
// entry has.
func TestEveryCauseIsExplained(t *testing.T) {
	text, err := os.ReadFile("../install/shipped/hugeguard.catalog")
	if err != nil {
		t.Fatal(err)
	}
	explained := map[string]bool{}
	for _, entry := range strings.Split("\n"+string(text), "\n-- ")[1:] {
		id, entry, _ := strings.Cut(entry, "\n")
		header, body, _ := strings.Cut(entry, "\n\n")
		if explained[id] {
			t.Errorf("%s is explained twice", id)
		}
		explained[id] = true
		if !strings.HasPrefix(header, "Subject: ") || !strings.Contains(header, "\nDefined-By: hugeguard") || len(strings.Fields(body)) < 30 {
			t.Errorf("%s says too little:\n%s", id, entry)
		}
		for i, field := range strings.Split(entry, "@") {
			always := []string{"HUGEGUARD_DOMAIN", "HUGEGUARD_NEEDED", "HUGEGUARD_FREE", "HUGEGUARD_TOTAL", "HUGEGUARD_PAGE_KIB"}
			if i%2 == 1 && !slices.Contains(always, field) {
				t.Errorf("%s takes in %s, which not every entry has", id, field)
			}
		}
	}
	for _, cause := range append(Causes(), "") {
		id := messageIDs[cause]
		if !explained[id] {
			t.Errorf("the cause %q has no entry with its id, %s", cause, id)
		}
		delete(explained, id)
	}
	for id := range explained {
		t.Errorf("the entry of %s is of no cause", id)
	}
}
