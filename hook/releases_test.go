package hook

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"hugeguard/guard"
	"hugeguard/sysfs/sysfstest"
)

const (
	emulator     = "/usr/bin/qemu-system-x86_64"
	emulatorFile = capabilitiesDir + "/926803a9278e445ec919c2b6cbd8c1c449c75b26dcb1686b774314180376c725.xml"
)

func debian12(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("../testdata/capabilities/debian12-x86_64.xml")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestParseCapabilities(t *testing.T) {
	real := debian12(t)
	want := capabilities{emulator: emulator, ctime: 1795489049, libvirt: 9_000_000, qemu: 7_002_022}
	if got, err := parseCapabilities([]byte(real)); got != want || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
	patched := want
	patched.patched = true
	development := want
	development.qemu = 0
	replace := func(old, new string) string { return strings.Replace(real, old, new, 1) }
	for name, test := range map[string]struct {
		text string
		want capabilities
		ok   bool
	}{
		"another distribution":      {replace("Debian 1:7.2+dfsg-7+deb12u18+b3", "qemu-kvm-7.2.0-14.el9_2"), patched, true},
		"no distribution":           {replace("Debian 1:7.2+dfsg-7+deb12u18+b3", ""), patched, true},
		"on the way to a release":   {replace("<version>7002022<", "<version>8002091<"), development, true},
		"a version that is deeper":  {replace("  <version>7002022</version>", "    <version>7002022</version>"), capabilities{}, false},
		"a version behind the arch": {replace("  <version>7002022</version>\n", "") + "  <version>7002022</version>\n", capabilities{}, false},
		"no version of libvirt":     {replace("  <selfvers>9000000</selfvers>", ""), capabilities{}, false},
		"too large a number":        {replace("9000000", "9000000000000000000000"), capabilities{}, false},
		"no number":                 {replace("<selfvers>9000000", "<selfvers>nine"), capabilities{}, false},
		"no emulator":               {replace(emulator, ""), capabilities{}, false},
		"another document":          {"<domain>\n" + real, capabilities{}, false},
		"cut short":                 {real[:6000], capabilities{}, false},
		"empty":                     {"", capabilities{}, false},
	} {
		got, err := parseCapabilities([]byte(test.text))
		if (err == nil) != test.ok || test.ok && got != test.want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func FuzzParseCapabilities(f *testing.F) {
	f.Add([]byte(debian12(f)))
	f.Add([]byte("<qemuCaps>\n  <emulator>/x</emulator>\n  <qemuctime>1</qemuctime>\n  <selfvers>9000000</selfvers>\n  <version>1</version>\n  <package></package>"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseCapabilities(text)
		if err == nil && (c.emulator == "" || strings.Contains(c.emulator, "\n") || c.ctime <= 0 || c.libvirt == 0) {
			t.Errorf("%+v", c)
		}
	})
}

// TestReadCapabilities: a file that is about another emulator is not believed.
func TestReadCapabilities(t *testing.T) {
	host := sysfstest.Copy(t, incident+"/host")
	host.Write(emulatorFile, debian12(t)+strings.Repeat(" ", 200<<10))
	caps, err := readCapabilities(host.FS(), emulator)
	if err != nil || caps.qemu != 7_002_022 {
		t.Errorf("%+v, %v", caps, err)
	}
	host.Write(emulatorFile, strings.Replace(debian12(t), emulator, "/opt/qemu", 1))
	for _, path := range []string{emulator, "/opt/qemu", "", "qemu"} {
		if caps, err := readCapabilities(host.FS(), path); err == nil {
			t.Errorf("%q: %+v", path, caps)
		}
	}
}

// TestOtherCapabilities: what is no regular file is not opened, whatever it has to say.
func TestOtherCapabilities(t *testing.T) {
	host := sysfstest.Copy(t, incident+"/host")
	host.Write(emulatorFile, "")
	host.Remove(emulatorFile)
	if err := syscall.Mkfifo(host.Path(emulatorFile), 0o600); err != nil {
		t.Fatal(err)
	}
	fifo, err := syscall.Open(host.Path(emulatorFile), syscall.O_RDWR|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fifo)
	text := debian12(t)[:4<<10] // less than the FIFO holds
	if _, err := syscall.Write(fifo, []byte(text)); err != nil {
		t.Fatal(err)
	}
	if caps, err := readCapabilities(host.FS(), emulator); err == nil {
		t.Errorf("%+v", caps)
	}
	if all := Emulators(host.FS()); len(all) > 0 {
		t.Errorf("%+v", all)
	}
	left := make([]byte, len(text))
	if n, err := syscall.Read(fifo, left); err != nil || string(left[:n]) != text {
		t.Errorf("%d bytes are left, %v", n, err)
	}
}

// TestVerify: on the running host the emulator must be the one that is there, and a
// program.
func TestVerify(t *testing.T) {
	host := sysfstest.New(t)
	ctime := func(name string) int64 {
		var s syscall.Stat_t
		if err := syscall.Stat(host.Path(name), &s); err != nil {
			t.Fatal(err)
		}
		return s.Ctim.Sec
	}
	host.Write("program", "\x7fELF...")
	host.Write("script", "#!/bin/sh\n")
	good := capabilities{emulator: host.Path("program"), ctime: ctime("program")}
	if err := good.verify(); err != nil {
		t.Error(err)
	}
	for name, wrong := range map[string]capabilities{
		"older emulator": {emulator: good.emulator, ctime: good.ctime - 1},
		"script":         {emulator: host.Path("script"), ctime: ctime("script")},
		"no emulator":    {emulator: host.Path("gone")},
	} {
		if wrong.verify() == nil {
			t.Errorf("%s: believed", name)
		}
	}
}

// oddSize is a launch that depends on QEMU's release: a size that is no
// multiple of the page.
const oddSize = `<domain type='kvm'><name>odd</name><memory unit='MiB'>21</memory><memoryBacking><hugepages>
	<page size='2' unit='MiB'/></hugepages></memoryBacking><devices><emulator>` + emulator + `</emulator></devices></domain>`

// TestPrepareKnowsReleases: the release at hand turns a warning into silence
// or a refusal, unless the domain or the admin has libvirt believe otherwise.
func TestPrepareKnowsReleases(t *testing.T) {
	newer := strings.Replace(debian12(t), "7002022", "10000013", 1)
	for _, test := range []struct {
		name, xml, caps string
		status, entries int
	}{
		{"unknown", oddSize, "", exitAccept, 1},
		{"7.2", oddSize, debian12(t), exitAccept, 0},
		{"10.0", oddSize, newer, exitRefuse, 1},
		{"rubbish", oddSize, "\x00", exitAccept, 1},
		{"own capabilities", strings.Replace(oddSize, "</devices>",
			"</devices><q:capabilities xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'><q:del capability='thread-context'/></q:capabilities>", 1), newer, exitAccept, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t, strings.NewReader(test.xml))
			if test.caps != "" {
				f.host.Write(emulatorFile, test.caps)
			}
			if status := f.prepare(); status != test.status || len(f.entries) != test.entries {
				t.Fatalf("status %d, %q, journal %+v", status, &f.stderr, f.entries)
			}
			if test.status == exitRefuse && (f.entries[0].Fields["HUGEGUARD_QEMU"] != "10.0.13" || !strings.Contains(f.stderr.String(), "(QEMU 10.0.13)")) {
				t.Errorf("%q, %+v", &f.stderr, f.entries[0])
			}
		})
	}
}

// TestAddReleases: libvirt's version says nothing of thread-context where the
// admin has libvirt not see it.
func TestAddReleases(t *testing.T) {
	host := sysfstest.Copy(t, incident+"/host")
	host.Write(emulatorFile, debian12(t))
	demand := guard.Demand{Emulator: emulator}
	for _, test := range []struct {
		conf    string
		libvirt guard.Version
	}{
		{"", 9_000_000},
		{"capability_filters = [ \"vnc\" ]\n", 9_000_000},
		{"capability_filters = [ \"vnc\", 'thread-context' ]\n", 0},
		{"capability_filters = [ \n", 0},
	} {
		host.Write(qemuConfPath, test.conf)
		var h guard.Host
		AddReleases(host.FS(), &h, demand)
		if h.Releases.Libvirt.Version != test.libvirt || h.Releases.QEMU.Version != 7_002_022 {
			t.Errorf("%q: %+v", test.conf, h.Releases)
		}
	}
}
