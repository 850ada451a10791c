package guard

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func release(v Version) Release { return Release{Version: v} }

// serving gives a host releases; 0 is an unknown one.
func (h Host) serving(libvirt, qemu Version) Host {
	h.Releases.Libvirt, h.Releases.QEMU = release(libvirt), release(qemu)
	return h
}

// patched has both built by somebody who takes in later changes.
func (h Host) patched() Host {
	h.Releases.Libvirt.Patched, h.Releases.QEMU.Patched = true, true
	return h
}

// usingCpuset says whether libvirt may use the cpuset controller.
func (h Host) usingCpuset(may bool) Host {
	h.Releases.Cpuset = &may
	return h
}

// pinnedXML is a guest of ten pages on node 1 with some pinning.
func pinnedXML(pinning string) string {
	return `<domain><memory unit='MiB'>20</memory><memoryBacking>` + twoMiB + `</memoryBacking><os><type arch='x86_64'>hvm</type></os>` + pinning +
		`<numatune><memory mode='strict' nodeset='1'/></numatune></domain>`
}

// twoCPUs is a host with two CPUs to each node.
func twoCPUs(free ...uint64) Host {
	host := pages(free...)
	for i := range host.Nodes {
		host.Nodes[i].CPUs = CPUSet{2 * i, 2*i + 1}
	}
	return host
}

// runningOn is a control group whose threads may run on some CPUs.
func runningOn(cpus ...int) Cgroup {
	return Cgroup{Path: machineSlice, CPUs: cpus, CPUsFile: machineSlice + "/cpuset.cpus.effective"}
}

// TestRulesByRelease goes through what differs between releases, measured on
// Debian 12 (libvirt 9.0.0, QEMU 7.2.22) and Debian 13 (libvirt 11.3.0, QEMU
// 10.0.13) and read in the sources between them.
func TestRulesByRelease(t *testing.T) {
	noCPU := pages(100, 100)
	noCPU.Nodes[1].HasCPU = false
	outside := guest(t, "strict:0", cell{10, "strict:1"})
	overlapping := guest(t, "", cell{100, "strict:0"}, cell{90, "strict:0-1"})
	pinned := parse(t, `<domain><memory unit='MiB'>20</memory><vcpu placement='static' cpuset='0'>1</vcpu><memoryBacking>`+twoMiB+`</memoryBacking>
		<numatune><memory mode='strict' nodeset='1'/></numatune></domain>`)
	elsewhere := parse(t, pinnedXML("<cputune><emulatorpin cpuset='0-1'/></cputune>"))
	both := parse(t, pinnedXML("<cputune><emulatorpin cpuset='1-2'/></cputune>"))
	byCPUs := parse(t, pinnedXML("<vcpu placement='static' cpuset='0-3,^2,^3'>1</vcpu>"))
	byNumad := parse(t, pinnedXML("<vcpu placement='auto' cpuset='0'>1</vcpu>"))
	soft := parse(t, strings.Replace(pinnedXML("<cputune><emulatorpin cpuset='0'/></cputune>"), "'strict'", "'preferred'", 1))
	runningOn1 := legacy()
	runningOn1.CPUs = CPUSet{0}
	const debian12, debian13, qemu12, qemu13 Version = 9_000_000, 11_003_000, 7_002_022, 10_000_013
	for _, test := range []struct {
		name   string
		demand Demand
		host   Host
		want   Decision
		says   string // in the summary
	}{
		// cpuset.mems of strict: the nodeset of numatune/memory, or the union
		// with all memnodes.
		{"union, Debian 12", outside, pages(100, 100).serving(debian12, qemu12).usingCpuset(true), Refuse, "confines QEMU to node 0, as numatune/memory says (libvirt 9.0.0, libvirt using the cpuset controller)"},
		{"union, Debian 13", outside, pages(100, 100).serving(debian13, qemu13).usingCpuset(true), Allow, "it fits"},
		{"union, cpuset unknown", outside, pages(100, 100).serving(debian12, 0), Warn, "it fails where libvirt may use the cpuset controller\n"},
		{"union, libvirt unknown", outside, pages(100, 100).serving(0, qemu12).usingCpuset(true), Warn, "it fails with libvirt before 9.5\n"},
		{"union, begun in 9.4", outside, pages(100, 100).serving(9_004_000, 0).usingCpuset(true), Warn, "it fails with libvirt 9.4.0 if it lacks what 9.5 changed\n"},
		{"union, before", outside, pages(100, 100).serving(9_003_000, 0).usingCpuset(true), Refuse, "libvirt 9.3.0"},
		{"union, since", outside, pages(100, 100).serving(9_005_000, 0).usingCpuset(true), Allow, ""},
		{"union, taken into an older release", outside, pages(100, 100).serving(debian12, qemu12).patched().usingCpuset(true), Warn, "if it lacks what 9.5 changed"},
		{"union, without cpuset", outside, pages(100, 100).usingCpuset(false), Allow, ""},

		// Where libvirt sets the process's policy in place of a cpuset it is that
		// of numatune/memory with every release, and decides what can be reserved,
		// also for what is bound to other nodes: at mmap those of the earlier
		// backends are gone by then, or not yet.
		{"policy, the first cell takes what the second has to reserve", guest(t, "strict:0", cell{60, "strict:0"}, cell{60, "strict:1"}), pages(100, 100).serving(debian12, qemu12).usingCpuset(false), Refuse, "node 0 has too few 2M pages: 100 of 100 free, 120 needed"},
		{"policy, the second reserves before the first has taken, or meanwhile", guest(t, "strict:0", cell{60, "strict:0"}, cell{60, "strict:1"}), pages(100, 100).serving(debian13, qemu13).usingCpuset(false), Warn, "they can be reserved for ram-node1 only if"},
		{"policy, the first may leave enough", guest(t, "strict:0", cell{60, "strict:0-1"}, cell{60, "strict:1"}), pages(100, 120).serving(debian12, qemu12).usingCpuset(false), Warn, "they can be reserved for ram-node1 only if"},
		{"policy, no union with memnodes", guest(t, "strict:0", cell{60, "strict:1"}), pages(50, 100).serving(debian13, qemu13).usingCpuset(false), Refuse, "node 0 has too few 2M pages: 50 of 50 free, 60 needed"},
		{"policy, what the mount sets aside", guest(t, "strict:0", cell{60, "strict:1"}), setAside(pages(50, 100).pooled(func(p *SizePool) { p.Reserved = 60 })).serving(debian12, qemu12).usingCpuset(false), Warn, "they can be reserved for ram-node0 only if"},

		// Files that are no multiple of their page.
		{"exact files, Debian 12", plain(t, 21, "", twoMiB), pages(100, 100).serving(debian12, qemu12), Allow, ""},
		{"exact files, Debian 13", plain(t, 21, "", twoMiB), pages(100, 100).serving(debian13, qemu13), Refuse, "and QEMU requires a multiple (QEMU 10.0.13)"},
		{"exact files, a stable release of the series before", plain(t, 21, "", twoMiB), pages(100, 100).serving(0, 9_000_004), Warn, "it fails with QEMU 9.0.4 if it has what 9.1 changed\n"},
		{"exact files, taken into an older release", plain(t, 21, "", twoMiB), pages(100, 100).serving(0, 8_002_000).patched(), Warn, ""},
		{"exact files, libvirt does not matter", plain(t, 21, "", twoMiB), pages(100, 100).serving(debian12, 0), Warn, "it fails with QEMU 9.1 or later\n"},
		{"exact files, a shortage comes first", plain(t, 501, "", twoMiB), pages(100, 100).serving(debian12, qemu12), Refuse, "251 needed"},

		// One backend after the other, or all at once.
		{"order, Debian 12", overlapping, pages(100, 100).serving(debian12, qemu12), Allow, ""},
		{"order, Debian 13", overlapping, pages(100, 100).serving(debian13, qemu13), Warn, "depends on the kernel's order"},
		{"order, no thread-context from libvirt", overlapping, pages(100, 100).serving(8_009_000, qemu13), Allow, ""},
		{"order, no assignment", guest(t, "", cell{100, "strict:0"}, cell{101, "strict:0-1"}), pages(100, 100).serving(debian13, qemu13), Refuse, "201 needed"},

		// Nodes without CPUs.
		{"threads, Debian 12", plain(t, 20, "strict:1", twoMiB), noCPU.serving(debian12, qemu12), Refuse, "no CPU belongs there, and QEMU prepares memory from the CPUs of its nodes (libvirt 9.0.0 and QEMU 7.2.22)"},
		{"threads, libvirt unknown", plain(t, 20, "strict:1", twoMiB), noCPU.serving(0, qemu12), Warn, "it fails with libvirt 8.10 or later\n"},
		{"threads, QEMU unknown", plain(t, 20, "strict:1", twoMiB), noCPU.serving(debian12, 0), Warn, "it fails with QEMU 7.2 or later\n"},
		{"threads, both unknown", plain(t, 20, "strict:1", twoMiB), noCPU, Warn, "it fails with libvirt 8.10 or later and QEMU 7.2 or later\n"},
		{"threads, old libvirt", plain(t, 20, "strict:1", twoMiB), noCPU.serving(8_009_000, 0), Allow, ""},
		{"threads, old QEMU", plain(t, 20, "strict:1", twoMiB), noCPU.serving(0, 7_001_000), Allow, ""},
		{"restrictive threads, Debian 12", plain(t, 20, "restrictive:1", twoMiB), noCPU.serving(debian12, qemu12), Allow, ""},
		{"restrictive threads, Debian 13", plain(t, 20, "restrictive:1", twoMiB), noCPU.serving(debian13, qemu13), Refuse, "(libvirt 11.3.0 and QEMU 10.0.13)"},
		{"restrictive threads, unknown", plain(t, 20, "restrictive:1", twoMiB), noCPU, Warn, "it fails with libvirt 9.2 or later and QEMU 7.2 or later\n"},
		{"threads of a pinned emulator, Debian 12", pinned, noCPU.serving(debian12, qemu12), Refuse, "no CPU"},
		{"threads of a pinned emulator, Debian 13", pinned, noCPU.serving(debian13, qemu13), Allow, ""},

		// The emulator's cpuset has none of the CPUs that memory is prepared
		// from: between libvirt 8.10 and 9.2, which looks at what it is pinned to.
		{"pinned elsewhere, Debian 12", elsewhere, twoCPUs(100, 100).serving(debian12, qemu12).usingCpuset(true), Refuse, "cannot bind RAM to node 1 for pc.ram: QEMU is pinned to CPUs 0-1, none of them there, and QEMU prepares memory from the CPUs of its nodes (libvirt 9.0.0 and QEMU 7.2.22, libvirt using the cpuset controller)"},
		{"pinned elsewhere, Debian 13", elsewhere, twoCPUs(100, 100).serving(debian13, qemu13).usingCpuset(true), Allow, ""},
		{"pinned elsewhere, without cpuset", elsewhere, twoCPUs(100, 100).serving(debian12, qemu12).usingCpuset(false), Allow, ""},
		{"pinned elsewhere, cpuset unknown", elsewhere, twoCPUs(100, 100).serving(debian12, qemu12), Warn, "it fails where libvirt may use the cpuset controller\n"},
		{"pinned elsewhere, nothing known", elsewhere, twoCPUs(100, 100), Warn, "it fails with libvirt 8.10 to 9.1 and QEMU 7.2 or later where libvirt may use the cpuset controller\n"},
		{"pinned elsewhere, libvirt unknown", elsewhere, twoCPUs(100, 100).serving(0, qemu12).usingCpuset(true), Warn, "it fails with libvirt 8.10 to 9.1\n"},
		{"pinned elsewhere, QEMU unknown", elsewhere, twoCPUs(100, 100).serving(debian12, 0).usingCpuset(true), Warn, "it fails with QEMU 7.2 or later\n"},
		{"pinned elsewhere, patched", elsewhere, twoCPUs(100, 100).serving(debian12, qemu12).patched().usingCpuset(true), Warn, "it fails with libvirt 9.0.0 if it lacks what 9.2 changed\n"},
		{"pinned elsewhere, patched and older", elsewhere, twoCPUs(100, 100).serving(8_005_000, qemu12).patched().usingCpuset(true), Warn, "it fails with libvirt 8.5.0 if it has what 8.10 changed and lacks what 9.2 did\n"},
		{"pinned elsewhere, old libvirt", elsewhere, twoCPUs(100, 100).serving(8_009_000, qemu12).usingCpuset(true), Allow, ""},
		{"pinned elsewhere, CPUs unknown", elsewhere, pages(100, 100).serving(debian12, qemu12).usingCpuset(true), Allow, ""},
		{"pinned elsewhere, preferred", soft, twoCPUs(100, 100).serving(debian12, qemu12).usingCpuset(true), Refuse, "QEMU is pinned to CPU 0, none of them there"},
		{"pinned to CPUs of both nodes", both, twoCPUs(100, 100).serving(debian12, qemu12).usingCpuset(true), Allow, ""},
		{"pinned as the vCPUs are", byCPUs, twoCPUs(100, 100).serving(debian12, qemu12).usingCpuset(true), Refuse, "pinned to CPUs 0-1"},
		{"pinned by numad", byNumad, twoCPUs(100, 100).serving(debian12, qemu12).usingCpuset(true), Allow, ""},

		// A control group above that keeps QEMU from the nodes' CPUs does the
		// same with every later release.
		{"kept from the CPUs, Debian 12", plain(t, 20, "strict:1", twoMiB), below(twoCPUs(100, 100), runningOn(0, 1)).serving(debian12, qemu12), Refuse, "machine.slice/cpuset.cpus.effective keeps QEMU to CPUs 0-1, none of them there, and QEMU prepares"},
		{"kept from the CPUs, Debian 13", plain(t, 20, "strict:1", twoMiB), below(twoCPUs(100, 100), runningOn(0, 1)).serving(debian13, qemu13), Refuse, "keeps QEMU to CPUs 0-1"},
		{"kept from the CPUs, restrictive, Debian 12", plain(t, 20, "restrictive:1", twoMiB), below(twoCPUs(100, 100), runningOn(0, 1)).serving(debian12, qemu12), Allow, ""},
		{"kept from the CPUs, restrictive, Debian 13", plain(t, 20, "restrictive:1", twoMiB), below(twoCPUs(100, 100), runningOn(0, 1)).serving(debian13, qemu13), Refuse, "keeps QEMU to CPUs 0-1"},
		{"kept from some CPUs", plain(t, 20, "strict:1", twoMiB), below(twoCPUs(100, 100), runningOn(0, 3)).serving(debian12, qemu12), Allow, ""},
		{"kept from the CPUs, old QEMU", plain(t, 20, "strict:1", twoMiB), below(twoCPUs(100, 100), runningOn(0)).serving(debian12, 7_001_000), Allow, ""},
		{"kept from the CPUs, version 1", plain(t, 20, "strict:1", twoMiB), below(twoCPUs(100, 100), runningOn1).serving(debian12, qemu12).usingCpuset(true), Refuse, "keeps QEMU to CPU 0"},
		{"kept from the CPUs, version 1 without cpuset", plain(t, 20, "strict:1", twoMiB), below(twoCPUs(100, 100), runningOn1).serving(debian12, qemu12).usingCpuset(false), Allow, ""},
		{"kept from and pinned elsewhere, Debian 13", elsewhere, below(twoCPUs(100, 100), runningOn(0)).serving(debian13, qemu13).usingCpuset(true), Allow, ""},
		{"pinned to both, kept from one, Debian 13", both, below(twoCPUs(100, 100), runningOn(1)).serving(debian13, qemu13).usingCpuset(true), Refuse, "keeps QEMU to CPU 1"},

		// restrictive is kept by the cpuset, and by nothing where there is none.
		{"restrictive short, with cpuset", plain(t, 202, "restrictive:0", twoMiB), pages(100, 100).serving(debian12, 0).usingCpuset(true), Refuse, "node 0 has too few 2M pages: 100 of 100 free, 101 needed"},
		{"restrictive short, libvirt unknown", plain(t, 202, "restrictive:0", twoMiB), pages(100, 100).usingCpuset(true), Warn, "it fails with libvirt 9.0 or later\n"},
		{"restrictive short, cpuset unknown", plain(t, 202, "restrictive:0", twoMiB), pages(100, 100).serving(debian12, 0), Warn, "it fails where libvirt may use the cpuset controller\n"},
		{"restrictive short, both unknown", plain(t, 202, "restrictive:0", twoMiB), pages(100, 100), Warn, "it fails with libvirt 9.0 or later where libvirt may use the cpuset controller\n"},
		{"restrictive short, perhaps before", plain(t, 202, "restrictive:0", twoMiB), pages(100, 100).serving(8_005_000, 0).usingCpuset(true), Warn, "it fails with libvirt 8.5.0 if it has what 9.0 changed\n"},
		{"restrictive short, perhaps before, with threads", plain(t, 202, "restrictive:0", twoMiB), pages(100, 100).serving(8_010_000, 0).usingCpuset(true), Warn, "it fails with libvirt 8.10.0 if it has what 9.0 changed\n"},
		{"restrictive short, without", plain(t, 202, "restrictive:0", twoMiB), pages(100, 100).usingCpuset(false), Allow, ""},
		{"restrictive short anyway", plain(t, 402, "restrictive:0", twoMiB), pages(100, 100).usingCpuset(true), Refuse, "201 needed ("},

		// Since libvirt 9.4 a restrictive memnode needs a restrictive memory:
		// others are refused at define, so that prepare never sees them. What
		// it sees of older ones no release decides.
		{"restrictive memnode, other memory", guest(t, "strict:0", cell{101, "restrictive:0"}), pages(100, 100).serving(debian12, qemu12), Refuse, "101 needed ("},
		{"restrictive memnode, other memory, fits", guest(t, "strict:0", cell{100, "restrictive:0"}), pages(100, 100).serving(debian12, qemu12), Allow, ""},

		// maxMemory without cells is refused at define before libvirt 9.6; since
		// then prepare sees the cell that libvirt adds.
		{"maxMemory, the cell of libvirt's", parse(t, `<domain><maxMemory slots='1' unit='GiB'>1</maxMemory><memory unit='MiB'>402</memory><memoryBacking>`+twoMiB+`</memoryBacking>
			<cpu><numa><cell id='0' cpus='0' memory='402' unit='MiB'/></numa></cpu></domain>`), pages(100, 100).serving(debian13, qemu13), Refuse, "201 needed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := Judge(test.demand, test.host)
			said := Summary(v)
			if len(v.Findings) > 0 {
				said += "\n" + Message(v.Findings[0]) + "\n"
			}
			if v.Decision != test.want || !strings.Contains(said, test.says) {
				t.Errorf("%s: %q\nwant %s, with %q", v.Decision, said, test.want, test.says)
			}
			if v.Decision == Refuse && Message(v.Findings[0]) == "" || len(Summary(v)) > 780 {
				t.Errorf("%+v", v)
			}
		})
	}
}

// TestReleasesShown: what a verdict was judged for is in the text, the journal
// and the JSON, and what is not known is in none of them.
func TestReleasesShown(t *testing.T) {
	d := plain(t, 21, "", twoMiB)
	v := Judge(d, pages(100).serving(9_000_000, 10_000_013).usingCpuset(false))
	if text := Text(v); !strings.HasSuffix(text, "\njudged for libvirt 9.0.0 and QEMU 10.0.13, libvirt not using the cpuset controller") {
		t.Error(text)
	}
	if f := Fields(v); f["HUGEGUARD_LIBVIRT"] != "9.0.0" || f["HUGEGUARD_QEMU"] != "10.0.13" {
		t.Error(f)
	}
	if r := v.Releases.Report(); r == nil || r.Libvirt != "9.0.0" || r.QEMU != "10.0.13" || *r.Cpuset {
		t.Errorf("%+v", r)
	}
	v = Judge(d, pages(100))
	if f := Fields(v); strings.Contains(Text(v), "judged for") || f["HUGEGUARD_LIBVIRT"] != "" || v.Releases != (Releases{}) {
		t.Error(Text(v), f, v.Releases)
	}
}

// TestConfiguredMounts: hugetlbfs_mount decides the default page size, by
// libvirt's own odd rule, and nothing else can be meant then.
func TestConfiguredMounts(t *testing.T) {
	d := plain(t, 1024, "", "<hugepages/>")
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
		host := withGiB(pages(100), 1)
		host.Mounts, host.Configured = test.mounts, true
		v := Judge(d, host)
		var kib uint64
		if len(v.Demand) > 0 {
			kib = v.Demand[0].PageKiB
		}
		if kib != test.kib || v.Decision != test.want {
			t.Errorf("%v: %s with pages of %d KiB: %s", test.mounts, v.Decision, kib, Summary(v))
		}
	}
}

// drawReleases draws what may be known: nothing of a release, or that it is one that changed a rule, or the last before;
// none that lacks what is assumed of unknown ones.
func drawReleases(t *rapid.T) Releases {
	draw := func(history []epoch, since Version, label string) Version {
		history = slices.DeleteFunc(slices.Clone(history), func(e epoch) bool { return e.from != 0 && e.from < since })
		from := rapid.SampledFrom(history).Draw(t, label).from
		if from > since && rapid.Bool().Draw(t, "the last before") {
			from--
		}
		return from
	}
	var k Releases
	k.Libvirt.Version = draw(histories().libvirt, 7_000_000, "libvirt")
	k.QEMU.Version = draw(histories().qemu, 5_002_000, "QEMU")
	k.Kernel.Version = draw(histories().kernel, 5_014_000, "Linux")
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
	noCPU := pages(100, 100)
	noCPU.Nodes[1].HasCPU = false
	strict, grows, odd := plain(t, 20, "strict:1", twoMiB), withVirtioMem(t, 80, 40), plain(t, 21, "strict:0", twoMiB)
	for _, c := range []struct {
		name string
		d    Demand
		host Host
		qemu Release
		want Decision
	}{
		{"a patched package", strict, noCPU, Release{Version: 7_000_000, Patched: true}, Warn},
		{"a patched package with thread-context", strict, noCPU, Release{Version: 7_000_000, Patched: true, ThreadContext: Yes}, Refuse},
		{"a patched package without", strict, noCPU, Release{Version: 7_000_000, Patched: true, ThreadContext: No}, Allow},
		{"a release that should have it", strict, noCPU, Release{Version: 10_000_000, ThreadContext: No}, Allow},
		{"an old package", grows, pages(60), Release{Version: 6_000_000, Patched: true}, Warn},
		{"an old package with reserve", grows, pages(60), Release{Version: 6_000_000, Patched: true, Reserve: Yes}, Allow},
		{"an old package without", grows, pages(60), Release{Version: 6_000_000, Patched: true, Reserve: No}, Refuse},
		{"a package that may name RAM", odd, pages(100, 100), Release{Version: 4_002_000, Patched: true}, Warn},
		{"a machine that names its RAM", odd, pages(100, 100), Release{Version: 4_002_000, Patched: true, DefaultRAM: Yes}, Refuse},
		{"a machine that does not", odd, pages(100, 100), Release{Version: 6_002_000, DefaultRAM: No}, Allow},
	} {
		c.host.Releases = Releases{Libvirt: release(9_000_000), QEMU: c.qemu}
		if v := JudgeAndFix(c.d, c.host); v.Decision != c.want {
			t.Errorf("%s: %s, want %s: %s", c.name, v.Decision, c.want, Summary(v))
		}
	}
}

// TestKnowledgeOnlyDecides: to know the releases turns nothing but a warning
// into something else, so that an allowed launch need not be asked about them.
func TestKnowledgeOnlyDecides(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, host := drawLaunch(t)
		for i := range d.Backends {
			d.Backends[i].Bytes += rapid.SampledFrom([]uint64{0, 0, 0, 1 << 20}).Draw(t, "odd")
			d.Backends[i].ExactBytes = d.Backends[i].Bytes
		}
		d.Cpuset.Restrictive = d.Cpuset.Nodes != nil && rapid.Bool().Draw(t, "restrictive")
		before := Judge(d, host)
		for range 8 {
			host.Releases = drawReleases(t)
			after := Judge(d, host)
			if before.Decision != Warn && after.Decision != before.Decision {
				t.Fatalf("%s: %s\nknowing %s, %s: %s", before.Decision, Summary(before), host.Releases, after.Decision, Summary(after))
			}
		}
	})
}
