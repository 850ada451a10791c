package guard_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	. "hugeguard/guard"
	"hugeguard/guard/fix"
	. "hugeguard/guard/guardtest"
	"hugeguard/guard/words"
)

func release(v Version) Release { return Release{Version: v} }

// TestRulesByRelease goes through what differs between releases, measured on
// Debian 12 (libvirt 9.0.0, QEMU 7.2.22) and Debian 13 (libvirt 11.3.0, QEMU
// 10.0.13) and read in the sources between them.
func TestRulesByRelease(t *testing.T) {
	noCPU := Pages(100, 100)
	noCPU.Nodes[1].HasCPU = false
	outside := Guest(t, "strict:0", Cell(10, "strict:1"))
	overlapping := Guest(t, "", Cell(100, "strict:0"), Cell(90, "strict:0-1"))
	pinned := Parse(t, `<domain><memory unit='MiB'>20</memory><vcpu placement='static' cpuset='0'>1</vcpu><memoryBacking>`+TwoMiB+`</memoryBacking>
		<numatune><memory mode='strict' nodeset='1'/></numatune></domain>`)
	elsewhere := Parse(t, PinnedXML("<cputune><emulatorpin cpuset='0-1'/></cputune>"))
	both := Parse(t, PinnedXML("<cputune><emulatorpin cpuset='1-2'/></cputune>"))
	byCPUs := Parse(t, PinnedXML("<vcpu placement='static' cpuset='0-3,^2,^3'>1</vcpu>"))
	byNumad := Parse(t, PinnedXML("<vcpu placement='auto' cpuset='0'>1</vcpu>"))
	soft := Parse(t, strings.Replace(PinnedXML("<cputune><emulatorpin cpuset='0'/></cputune>"), "'strict'", "'preferred'", 1))
	runningOn1 := legacy()
	runningOn1.CPUs = CPUSet{0}
	const debian12, debian13, qemu12, qemu13 Version = 9_000_000, 11_003_000, 7_002_022, 10_000_013
	for _, test := range []struct {
		name   string
		demand Demand
		host   Setup
		want   Decision
		says   string // in the summary
	}{
		// cpuset.mems of strict: the nodeset of numatune/memory, or the union
		// with all memnodes.
		{"union, Debian 12", outside, Pages(100, 100).Serving(debian12, qemu12).UsingCpuset(true), Refuse, "confines QEMU to node 0, as numatune/memory says (libvirt 9.0.0, libvirt using the cpuset controller)"},
		{"union, Debian 13", outside, Pages(100, 100).Serving(debian13, qemu13).UsingCpuset(true), Allow, "it fits"},
		{"union, cpuset unknown", outside, Pages(100, 100).Serving(debian12, 0), Warn, "it fails where libvirt may use the cpuset controller\n"},
		{"union, libvirt unknown", outside, Pages(100, 100).Serving(0, qemu12).UsingCpuset(true), Warn, "it fails with libvirt before 9.5\n"},
		{"union, begun in 9.4", outside, Pages(100, 100).Serving(9_004_000, 0).UsingCpuset(true), Warn, "it fails with libvirt 9.4.0 if it lacks what 9.5 changed\n"},
		{"union, before", outside, Pages(100, 100).Serving(9_003_000, 0).UsingCpuset(true), Refuse, "libvirt 9.3.0"},
		{"union, since", outside, Pages(100, 100).Serving(9_005_000, 0).UsingCpuset(true), Allow, ""},
		{"union, taken into an older release", outside, Pages(100, 100).Serving(debian12, qemu12).Patched().UsingCpuset(true), Warn, "if it lacks what 9.5 changed"},
		{"union, without cpuset", outside, Pages(100, 100).UsingCpuset(false), Allow, ""},

		// Where libvirt sets the process's policy in place of a cpuset it is that
		// of numatune/memory with every release, and decides what can be reserved,
		// also for what is bound to other nodes: at mmap those of the earlier
		// backends are gone by then, or not yet.
		{"policy, the first cell takes what the second has to reserve", Guest(t, "strict:0", Cell(60, "strict:0"), Cell(60, "strict:1")), Pages(100, 100).Serving(debian12, qemu12).UsingCpuset(false), Refuse, "node 0 has too few 2M pages: 100 of 100 free, 120 needed"},
		{"policy, the second reserves before the first has taken, or meanwhile", Guest(t, "strict:0", Cell(60, "strict:0"), Cell(60, "strict:1")), Pages(100, 100).Serving(debian13, qemu13).UsingCpuset(false), Warn, "they can be reserved for ram-node1 only if"},
		{"policy, the first may leave enough", Guest(t, "strict:0", Cell(60, "strict:0-1"), Cell(60, "strict:1")), Pages(100, 120).Serving(debian12, qemu12).UsingCpuset(false), Warn, "they can be reserved for ram-node1 only if"},
		{"policy, no union with memnodes", Guest(t, "strict:0", Cell(60, "strict:1")), Pages(50, 100).Serving(debian13, qemu13).UsingCpuset(false), Refuse, "node 0 has too few 2M pages: 50 of 50 free, 60 needed"},
		{"policy, what the mount sets aside", Guest(t, "strict:0", Cell(60, "strict:1")), setAside(Pages(50, 100).Change(func(p *SizePool) { p.Reserved = 60 })).Serving(debian12, qemu12).UsingCpuset(false), Warn, "they can be reserved for ram-node0 only if"},

		// Files that are no multiple of their page.
		{"exact files, Debian 12", Plain(t, 21, "", TwoMiB), Pages(100, 100).Serving(debian12, qemu12), Allow, ""},
		{"exact files, Debian 13", Plain(t, 21, "", TwoMiB), Pages(100, 100).Serving(debian13, qemu13), Refuse, "and QEMU requires a multiple (QEMU 10.0.13)"},
		{"exact files, a stable release of the series before", Plain(t, 21, "", TwoMiB), Pages(100, 100).Serving(0, 9_000_004), Warn, "it fails with QEMU 9.0.4 if it has what 9.1 changed\n"},
		{"exact files, taken into an older release", Plain(t, 21, "", TwoMiB), Pages(100, 100).Serving(0, 8_002_000).Patched(), Warn, ""},
		{"exact files, libvirt does not matter", Plain(t, 21, "", TwoMiB), Pages(100, 100).Serving(debian12, 0), Warn, "it fails with QEMU 9.1 or later\n"},
		{"exact files, a shortage comes first", Plain(t, 501, "", TwoMiB), Pages(100, 100).Serving(debian12, qemu12), Refuse, "251 needed"},

		// One backend after the other, or all at once.
		{"order, Debian 12", overlapping, Pages(100, 100).Serving(debian12, qemu12), Allow, ""},
		{"order, Debian 13", overlapping, Pages(100, 100).Serving(debian13, qemu13), Warn, "depends on the kernel's order"},
		{"order, no thread-context from libvirt", overlapping, Pages(100, 100).Serving(8_009_000, qemu13), Allow, ""},
		{"order, no assignment", Guest(t, "", Cell(100, "strict:0"), Cell(101, "strict:0-1")), Pages(100, 100).Serving(debian13, qemu13), Refuse, "201 needed"},

		// Nodes without CPUs.
		{"threads, Debian 12", Plain(t, 20, "strict:1", TwoMiB), noCPU.Serving(debian12, qemu12), Refuse, "no CPU belongs there, and QEMU prepares memory from the CPUs of its nodes (libvirt 9.0.0 and QEMU 7.2.22)"},
		{"threads, libvirt unknown", Plain(t, 20, "strict:1", TwoMiB), noCPU.Serving(0, qemu12), Warn, "it fails with libvirt 8.10 or later\n"},
		{"threads, QEMU unknown", Plain(t, 20, "strict:1", TwoMiB), noCPU.Serving(debian12, 0), Warn, "it fails with QEMU 7.2 or later\n"},
		{"threads, both unknown", Plain(t, 20, "strict:1", TwoMiB), noCPU, Warn, "it fails with libvirt 8.10 or later and QEMU 7.2 or later\n"},
		{"threads, old libvirt", Plain(t, 20, "strict:1", TwoMiB), noCPU.Serving(8_009_000, 0), Allow, ""},
		{"threads, old QEMU", Plain(t, 20, "strict:1", TwoMiB), noCPU.Serving(0, 7_001_000), Allow, ""},
		{"restrictive threads, Debian 12", Plain(t, 20, "restrictive:1", TwoMiB), noCPU.Serving(debian12, qemu12), Allow, ""},
		{"restrictive threads, Debian 13", Plain(t, 20, "restrictive:1", TwoMiB), noCPU.Serving(debian13, qemu13), Refuse, "(libvirt 11.3.0 and QEMU 10.0.13)"},
		{"restrictive threads, unknown", Plain(t, 20, "restrictive:1", TwoMiB), noCPU, Warn, "it fails with libvirt 9.2 or later and QEMU 7.2 or later\n"},
		{"threads of a pinned emulator, Debian 12", pinned, noCPU.Serving(debian12, qemu12), Refuse, "no CPU"},
		{"threads of a pinned emulator, Debian 13", pinned, noCPU.Serving(debian13, qemu13), Allow, ""},

		// The emulator's cpuset has none of the CPUs that memory is prepared
		// from: between libvirt 8.10 and 9.2, which looks at what it is pinned to.
		{"pinned elsewhere, Debian 12", elsewhere, TwoCPUs(100, 100).Serving(debian12, qemu12).UsingCpuset(true), Refuse, "cannot bind RAM to node 1 for pc.ram: QEMU is pinned to CPUs 0-1, none of them there, and QEMU prepares memory from the CPUs of its nodes (libvirt 9.0.0 and QEMU 7.2.22, libvirt using the cpuset controller)"},
		{"pinned elsewhere, Debian 13", elsewhere, TwoCPUs(100, 100).Serving(debian13, qemu13).UsingCpuset(true), Allow, ""},
		{"pinned elsewhere, without cpuset", elsewhere, TwoCPUs(100, 100).Serving(debian12, qemu12).UsingCpuset(false), Allow, ""},
		{"pinned elsewhere, cpuset unknown", elsewhere, TwoCPUs(100, 100).Serving(debian12, qemu12), Warn, "it fails where libvirt may use the cpuset controller\n"},
		{"pinned elsewhere, nothing known", elsewhere, TwoCPUs(100, 100), Warn, "it fails with libvirt 8.10 to 9.1 and QEMU 7.2 or later where libvirt may use the cpuset controller\n"},
		{"pinned elsewhere, libvirt unknown", elsewhere, TwoCPUs(100, 100).Serving(0, qemu12).UsingCpuset(true), Warn, "it fails with libvirt 8.10 to 9.1\n"},
		{"pinned elsewhere, QEMU unknown", elsewhere, TwoCPUs(100, 100).Serving(debian12, 0).UsingCpuset(true), Warn, "it fails with QEMU 7.2 or later\n"},
		{"pinned elsewhere, patched", elsewhere, TwoCPUs(100, 100).Serving(debian12, qemu12).Patched().UsingCpuset(true), Warn, "it fails with libvirt 9.0.0 if it lacks what 9.2 changed\n"},
		{"pinned elsewhere, patched and older", elsewhere, TwoCPUs(100, 100).Serving(8_005_000, qemu12).Patched().UsingCpuset(true), Warn, "it fails with libvirt 8.5.0 if it has what 8.10 changed and lacks what 9.2 did\n"},
		{"pinned elsewhere, old libvirt", elsewhere, TwoCPUs(100, 100).Serving(8_009_000, qemu12).UsingCpuset(true), Allow, ""},
		{"pinned elsewhere, CPUs unknown", elsewhere, Pages(100, 100).Serving(debian12, qemu12).UsingCpuset(true), Allow, ""},
		{"pinned elsewhere, preferred", soft, TwoCPUs(100, 100).Serving(debian12, qemu12).UsingCpuset(true), Refuse, "QEMU is pinned to CPU 0, none of them there"},
		{"pinned to CPUs of both nodes", both, TwoCPUs(100, 100).Serving(debian12, qemu12).UsingCpuset(true), Allow, ""},
		{"pinned as the vCPUs are", byCPUs, TwoCPUs(100, 100).Serving(debian12, qemu12).UsingCpuset(true), Refuse, "pinned to CPUs 0-1"},
		{"pinned by numad", byNumad, TwoCPUs(100, 100).Serving(debian12, qemu12).UsingCpuset(true), Allow, ""},

		// A control group above that keeps QEMU from the nodes' CPUs does the
		// same with every later release.
		{"kept from the CPUs, Debian 12", Plain(t, 20, "strict:1", TwoMiB), TwoCPUs(100, 100).Below(RunningOn(0, 1)).Serving(debian12, qemu12), Refuse, "machine.slice/cpuset.cpus.effective keeps QEMU to CPUs 0-1, none of them there, and QEMU prepares"},
		{"kept from the CPUs, Debian 13", Plain(t, 20, "strict:1", TwoMiB), TwoCPUs(100, 100).Below(RunningOn(0, 1)).Serving(debian13, qemu13), Refuse, "keeps QEMU to CPUs 0-1"},
		{"kept from the CPUs, restrictive, Debian 12", Plain(t, 20, "restrictive:1", TwoMiB), TwoCPUs(100, 100).Below(RunningOn(0, 1)).Serving(debian12, qemu12), Allow, ""},
		{"kept from the CPUs, restrictive, Debian 13", Plain(t, 20, "restrictive:1", TwoMiB), TwoCPUs(100, 100).Below(RunningOn(0, 1)).Serving(debian13, qemu13), Refuse, "keeps QEMU to CPUs 0-1"},
		{"kept from some CPUs", Plain(t, 20, "strict:1", TwoMiB), TwoCPUs(100, 100).Below(RunningOn(0, 3)).Serving(debian12, qemu12), Allow, ""},
		{"kept from the CPUs, old QEMU", Plain(t, 20, "strict:1", TwoMiB), TwoCPUs(100, 100).Below(RunningOn(0)).Serving(debian12, 7_001_000), Allow, ""},
		{"kept from the CPUs, version 1", Plain(t, 20, "strict:1", TwoMiB), TwoCPUs(100, 100).Below(runningOn1).Serving(debian12, qemu12).UsingCpuset(true), Refuse, "keeps QEMU to CPU 0"},
		{"kept from the CPUs, version 1 without cpuset", Plain(t, 20, "strict:1", TwoMiB), TwoCPUs(100, 100).Below(runningOn1).Serving(debian12, qemu12).UsingCpuset(false), Allow, ""},
		{"kept from and pinned elsewhere, Debian 13", elsewhere, TwoCPUs(100, 100).Below(RunningOn(0)).Serving(debian13, qemu13).UsingCpuset(true), Allow, ""},
		{"pinned to both, kept from one, Debian 13", both, TwoCPUs(100, 100).Below(RunningOn(1)).Serving(debian13, qemu13).UsingCpuset(true), Refuse, "keeps QEMU to CPU 1"},

		// restrictive is kept by the cpuset, and by nothing where there is none.
		{"restrictive short, with cpuset", Plain(t, 202, "restrictive:0", TwoMiB), Pages(100, 100).Serving(debian12, 0).UsingCpuset(true), Refuse, "node 0 has too few 2M pages: 100 of 100 free, 101 needed"},
		{"restrictive short, libvirt unknown", Plain(t, 202, "restrictive:0", TwoMiB), Pages(100, 100).UsingCpuset(true), Warn, "it fails with libvirt 9.0 or later\n"},
		{"restrictive short, cpuset unknown", Plain(t, 202, "restrictive:0", TwoMiB), Pages(100, 100).Serving(debian12, 0), Warn, "it fails where libvirt may use the cpuset controller\n"},
		{"restrictive short, both unknown", Plain(t, 202, "restrictive:0", TwoMiB), Pages(100, 100), Warn, "it fails with libvirt 9.0 or later where libvirt may use the cpuset controller\n"},
		{"restrictive short, perhaps before", Plain(t, 202, "restrictive:0", TwoMiB), Pages(100, 100).Serving(8_005_000, 0).UsingCpuset(true), Warn, "it fails with libvirt 8.5.0 if it has what 9.0 changed\n"},
		{"restrictive short, perhaps before, with threads", Plain(t, 202, "restrictive:0", TwoMiB), Pages(100, 100).Serving(8_010_000, 0).UsingCpuset(true), Warn, "it fails with libvirt 8.10.0 if it has what 9.0 changed\n"},
		{"restrictive short, without", Plain(t, 202, "restrictive:0", TwoMiB), Pages(100, 100).UsingCpuset(false), Allow, ""},
		{"restrictive short anyway", Plain(t, 402, "restrictive:0", TwoMiB), Pages(100, 100).UsingCpuset(true), Refuse, "201 needed ("},

		// Since libvirt 9.4 a restrictive memnode needs a restrictive memory:
		// others are refused at define, so that prepare never sees them. What
		// it sees of older ones no release decides.
		{"restrictive memnode, other memory", Guest(t, "strict:0", Cell(101, "restrictive:0")), Pages(100, 100).Serving(debian12, qemu12), Refuse, "101 needed ("},
		{"restrictive memnode, other memory, fits", Guest(t, "strict:0", Cell(100, "restrictive:0")), Pages(100, 100).Serving(debian12, qemu12), Allow, ""},

		// maxMemory without cells is refused at define before libvirt 9.6; since
		// then prepare sees the cell that libvirt adds.
		{"maxMemory, the cell of libvirt's", Parse(t, `<domain><maxMemory slots='1' unit='GiB'>1</maxMemory><memory unit='MiB'>402</memory><memoryBacking>`+TwoMiB+`</memoryBacking>
			<cpu><numa><cell id='0' cpus='0' memory='402' unit='MiB'/></numa></cpu></domain>`), Pages(100, 100).Serving(debian13, qemu13), Refuse, "201 needed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := Judge(test.demand, test.host.Host)
			said := summary(v)
			if len(v.Findings) > 0 {
				said += "\n" + words.Finding(v.Findings[0]) + "\n"
			}
			if v.Decision != test.want || !strings.Contains(said, test.says) {
				t.Errorf("%s: %q\nwant %s, with %q", v.Decision, said, test.want, test.says)
			}
			if v.Decision == Refuse && words.Finding(v.Findings[0]) == "" || len(summary(v)) > 780 {
				t.Errorf("%+v", v)
			}
		})
	}
}

// TestReleasesShown: what a verdict was judged for is in the text, the journal
// and the JSON, and what is not known is in none of them.
func TestReleasesShown(t *testing.T) {
	d := Plain(t, 21, "", TwoMiB)
	v := fix.Judge(d, Pages(100).Serving(9_000_000, 10_000_013).UsingCpuset(false).Host)
	if text := words.Text(v); !strings.HasSuffix(text, "\njudged for libvirt 9.0.0 and QEMU 10.0.13, libvirt not using the cpuset controller") {
		t.Error(text)
	}
	if f := words.Fields(v); f["HUGEGUARD_LIBVIRT"] != "9.0.0" || f["HUGEGUARD_QEMU"] != "10.0.13" {
		t.Error(f)
	}
	if r := v.Releases.Report(); r == nil || r.Libvirt != "9.0.0" || r.QEMU != "10.0.13" || *r.Cpuset {
		t.Errorf("%+v", r)
	}
	v = fix.Judge(d, Pages(100).Host)
	if f := words.Fields(v); strings.Contains(words.Text(v), "judged for") || f["HUGEGUARD_LIBVIRT"] != "" || v.Releases != (Releases{}) {
		t.Error(words.Text(v), f, v.Releases)
	}
}

// TestConfiguredMounts: hugetlbfs_mount decides the default page size, by
// libvirt's own odd rule, and nothing else can be meant then.
func TestConfiguredMounts(t *testing.T) {
	d := Plain(t, 1024, "", "<hugepages/>")
	for _, test := range []struct {
		mounts []Mount
		kib    uint64
		want   Decision
	}{
		{[]Mount{{PageKiB: 2048}}, 2048, Refuse},
		{[]Mount{{PageKiB: 1 << 20}}, 1 << 20, Allow},
		{[]Mount{{PageKiB: 2048}, {PageKiB: 1 << 20}}, 1 << 20, Allow},
		{[]Mount{{PageKiB: 1 << 20}, {PageKiB: 2048}}, 2048, Refuse},
		{nil, 0, Warn}, // disabled: libvirt refuses it
	} {
		host := Pages(100).WithGiB(1)
		host.Mounts, host.Configured = test.mounts, true
		v := Judge(d, host.Host)
		var kib uint64
		if len(v.Demand) > 0 {
			kib = v.Demand[0].PageKiB
		}
		if kib != test.kib || v.Decision != test.want {
			t.Errorf("%v: %s with pages of %d KiB: %s", test.mounts, v.Decision, kib, summary(v))
		}
	}
}

// drawReleases draws what may be known: nothing of a release, or that it is one that changed a rule, or the last before;
// none that lacks what is assumed of unknown ones.
func drawReleases(t *rapid.T) Releases {
	draw := func(began []Version, since Version, label string) Version {
		began = slices.DeleteFunc(began, func(v Version) bool { return v != 0 && v < since })
		from := rapid.SampledFrom(began).Draw(t, label)
		if from > since && rapid.Bool().Draw(t, "the last before") {
			from--
		}
		return from
	}
	libvirt, qemu, kernel := Began()
	var k Releases
	k.Libvirt.Version = draw(libvirt, 7_000_000, "libvirt")
	k.QEMU.Version = draw(qemu, 5_002_000, "QEMU")
	k.Kernel.Version = draw(kernel, 5_014_000, "Linux")
	k.Libvirt.Patched = rapid.Bool().Draw(t, "patched libvirt")
	k.QEMU.Patched = rapid.Bool().Draw(t, "patched QEMU")
	if rapid.Bool().Draw(t, "cpuset known") {
		may := rapid.Bool().Draw(t, "cpuset")
		k.Cpuset = &may
	}
	return k
}

// TestFacts: what libvirt has found out about QEMU decides, whatever the releases should have.
func TestFacts(t *testing.T) {
	noCPU := Pages(100, 100)
	noCPU.Nodes[1].HasCPU = false
	strict, grows, odd := Plain(t, 20, "strict:1", TwoMiB), withVirtioMem(t, 80, 40), Plain(t, 21, "strict:0", TwoMiB)
	for _, c := range []struct {
		name string
		d    Demand
		host Setup
		qemu Release
		want Decision
	}{
		{"a patched package", strict, noCPU, Release{Version: 7_000_000, Patched: true}, Warn},
		{"a patched package with thread-context", strict, noCPU, Release{Version: 7_000_000, Patched: true, ThreadContext: Yes}, Refuse},
		{"a patched package without", strict, noCPU, Release{Version: 7_000_000, Patched: true, ThreadContext: No}, Allow},
		{"a release that should have it", strict, noCPU, Release{Version: 10_000_000, ThreadContext: No}, Allow},
		{"an old package", grows, Pages(60), Release{Version: 6_000_000, Patched: true}, Warn},
		{"an old package with reserve", grows, Pages(60), Release{Version: 6_000_000, Patched: true, Reserve: Yes}, Allow},
		{"an old package without", grows, Pages(60), Release{Version: 6_000_000, Patched: true, Reserve: No}, Refuse},
		{"a package that may name RAM", odd, Pages(100, 100), Release{Version: 4_002_000, Patched: true}, Warn},
		{"a machine that names its RAM", odd, Pages(100, 100), Release{Version: 4_002_000, Patched: true, DefaultRAM: Yes}, Refuse},
		{"a machine that does not", odd, Pages(100, 100), Release{Version: 6_002_000, DefaultRAM: No}, Allow},
	} {
		c.host.Releases = Releases{Libvirt: release(9_000_000), QEMU: c.qemu}
		if v := fix.Judge(c.d, c.host.Host); v.Decision != c.want {
			t.Errorf("%s: %s, want %s: %s", c.name, v.Decision, c.want, words.Summary(v))
		}
	}
}

// TestKnowledgeOnlyDecides: to know the releases turns nothing but a warning
// into something else, so that an allowed launch need not be asked about them.
func TestKnowledgeOnlyDecides(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, host := DrawLaunch(t)
		for i := range d.Backends {
			d.Backends[i].Bytes += rapid.SampledFrom([]uint64{0, 0, 0, 1 << 20}).Draw(t, "odd")
			d.Backends[i].ExactBytes = d.Backends[i].Bytes
		}
		d.Cpuset.Restrictive = d.Cpuset.Nodes != nil && rapid.Bool().Draw(t, "restrictive")
		before := Judge(d, host.Host)
		for range 8 {
			host.Releases = drawReleases(t)
			after := Judge(d, host.Host)
			if before.Decision != Warn && after.Decision != before.Decision {
				t.Fatalf("%s: %s\nknowing %s, %s: %s", before.Decision, summary(before), host.Releases, after.Decision, summary(after))
			}
		}
	})
}
