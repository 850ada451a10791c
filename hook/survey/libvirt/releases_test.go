package libvirt

import (
	"strings"
	"syscall"
	"testing"

	"hugeguard/guard"
	"hugeguard/hook/hooktest"
	"hugeguard/sysfs/sysfstest"
)

func TestParseCapabilities(t *testing.T) {
	real := hooktest.Debian12(t)
	want := Capabilities{emulator: hooktest.Emulator, ctime: 1795489049, libvirt: 9_000_000, qemu: 7_002_022,
		flags: true, threadContext: true, reserve: true}
	if got, err := ParseCapabilities([]byte(real)); got != want || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
	patched := want
	patched.patched = true
	development := want
	development.qemu = 0
	replace := func(old, new string) string { return strings.Replace(real, old, new, 1) }
	for name, test := range map[string]struct {
		text string
		want Capabilities
		ok   bool
	}{
		"another distribution":      {replace("Debian 1:7.2+dfsg-7+deb12u18+b3", "qemu-kvm-7.2.0-14.el9_2"), patched, true},
		"no distribution":           {replace("Debian 1:7.2+dfsg-7+deb12u18+b3", ""), patched, true},
		"on the way to a release":   {replace("<version>7002022<", "<version>8002091<"), development, true},
		"a version that is deeper":  {replace("  <version>7002022</version>", "    <version>7002022</version>"), Capabilities{}, false},
		"a version behind the arch": {replace("  <version>7002022</version>\n", "") + "  <version>7002022</version>\n", Capabilities{}, false},
		"no version of libvirt":     {replace("  <selfvers>9000000</selfvers>", ""), Capabilities{}, false},
		"too large a number":        {replace("9000000", "9000000000000000000000"), Capabilities{}, false},
		"no number":                 {replace("<selfvers>9000000", "<selfvers>nine"), Capabilities{}, false},
		"no emulator":               {replace(hooktest.Emulator, ""), Capabilities{}, false},
		"another document":          {"<domain>\n" + real, Capabilities{}, false},
		"cut short":                 {real[:6000], Capabilities{}, false},
		"empty":                     {"", Capabilities{}, false},
	} {
		got, err := ParseCapabilities([]byte(test.text))
		if (err == nil) != test.ok || test.ok && got != test.want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func FuzzParseCapabilities(f *testing.F) {
	f.Add([]byte(hooktest.Debian12(f)))
	f.Add([]byte("<qemuCaps>\n  <emulator>/x</emulator>\n  <qemuctime>1</qemuctime>\n  <selfvers>9000000</selfvers>\n  <version>1</version>\n  <package></package>"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseCapabilities(text)
		if err == nil && (c.emulator == "" || strings.Contains(c.emulator, "\n") || c.ctime <= 0 || c.libvirt == 0) {
			t.Errorf("%+v", c)
		}
	})
}

// TestReadCapabilities: a file that is about another hooktest.Emulator is not believed.
func TestReadCapabilities(t *testing.T) {
	host := hooktest.Incident(t)
	host.Write(hooktest.EmulatorFile, hooktest.Debian12(t)+strings.Repeat(" ", 200<<10))
	caps, _, err := readCapabilities(host.FS(), hooktest.Emulator)
	if err != nil || caps.qemu != 7_002_022 {
		t.Errorf("%+v, %v", caps, err)
	}
	host.Write(hooktest.EmulatorFile, strings.Replace(hooktest.Debian12(t), hooktest.Emulator, "/opt/qemu", 1))
	for _, path := range []string{hooktest.Emulator, "/opt/qemu", "", "qemu"} {
		if caps, _, err := readCapabilities(host.FS(), path); err == nil {
			t.Errorf("%q: %+v", path, caps)
		}
	}
}

// TestOtherCapabilities: what is no regular file is not opened, whatever it has to say.
func TestOtherCapabilities(t *testing.T) {
	host := hooktest.Incident(t)
	host.Write(hooktest.EmulatorFile, "")
	host.Remove(hooktest.EmulatorFile)
	if err := syscall.Mkfifo(host.Path(hooktest.EmulatorFile), 0o600); err != nil {
		t.Fatal(err)
	}
	fifo, err := syscall.Open(host.Path(hooktest.EmulatorFile), syscall.O_RDWR|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fifo)
	text := hooktest.Debian12(t)[:4<<10] // less than the FIFO holds
	if _, err := syscall.Write(fifo, []byte(text)); err != nil {
		t.Fatal(err)
	}
	if caps, _, err := readCapabilities(host.FS(), hooktest.Emulator); err == nil {
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

// TestVerify: on the running host the hooktest.Emulator must be the one that is there, and a program.
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
	good := Capabilities{emulator: host.Path("program"), ctime: ctime("program")}
	if err := good.verify(); err != nil {
		t.Error(err)
	}
	for name, wrong := range map[string]Capabilities{
		"older emulator": {emulator: good.emulator, ctime: good.ctime - 1},
		"script":         {emulator: host.Path("script"), ctime: ctime("script")},
		"no emulator":    {emulator: host.Path("gone")},
	} {
		if wrong.verify() == nil {
			t.Errorf("%s: believed", name)
		}
	}
}

// TestFlags: what libvirt found out about QEMU is known where the file says it, and stays known in a capture.
func TestFlags(t *testing.T) {
	host := hooktest.Incident(t)
	host.Write("proc/sys/kernel/osrelease", "5.14.0-503.el9.x86_64\n")
	full := hooktest.Debian12(t)
	kept, err := ReduceCapabilities([]byte(full))
	if err != nil {
		t.Fatal(err)
	}
	without := func(text string, flags ...string) string {
		for _, flag := range flags {
			text = strings.Replace(text, "  <flag name='"+flag+"'/>\n", "", 1)
		}
		return text
	}
	old, err := ReduceCapabilities([]byte(without(full, flagThreadContext, flagReserve)))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, text, conf string
		threads, reserve guard.Known
	}{
		{"as written", full, "", guard.Yes, guard.Yes},
		{"captured", string(kept), "", guard.Yes, guard.Yes},
		{"filtered", full, "capability_filters = [ \"thread-context\" ]\n", guard.No, guard.Yes},
		{"an older QEMU", without(full, flagThreadContext), "", guard.No, guard.Yes},
		{"an older QEMU, captured", string(old), "", guard.No, guard.No},
		{"no flags", without(string(kept), flagThreadContext, flagReserve, "another"), "", 0, 0},
		{"qemu.conf cannot be read", full, "capability_filters = [ \n", 0, 0},
	} {
		host.Write(hooktest.EmulatorFile, test.text)
		host.Write(ConfPath, test.conf)
		got := Read(host.FS()).Releases(hooktest.Emulator, guard.Machine{})
		if got.QEMU.ThreadContext != test.threads || got.QEMU.Reserve != test.reserve {
			t.Errorf("%s: %+v", test.name, got.QEMU)
		}
		if got.Kernel != (guard.Release{Version: 5_014_000, Patched: true}) {
			t.Errorf("%s: kernel %+v", test.name, got.Kernel)
		}
	}
}

// TestMachines: whether a machine names its RAM, and divides it, is known where the file has the machine for that kind of domain, and
// stays known in a capture.
func TestMachines(t *testing.T) {
	const lines = `  <cpu type='kvm' name='qemu64'/>
  <machine type='kvm' name='pc-i440fx-7.2' alias='pc' hotplugCpus='yes' maxCpus='255' default='yes' defaultCPU='qemu64-x86_64-cpu' defaultRAMid='pc.ram' acpi='yes'/>
  <machine type='kvm' name='microvm' maxCpus='288' defaultCPU='qemu64-x86_64-cpu' numaMemSupported='yes'/>
  <machine type='kvm' name='open' defaultRAMid='pc.ram
  <machine type='tcg' name='isapc' maxCpus='1' defaultCPU='486-x86_64-cpu' defaultRAMid='pc.ram'/>
</qemuCaps>
`
	host := hooktest.Incident(t)
	full := hooktest.Debian12(t) + lines
	kept, err := ReduceCapabilities([]byte(full))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{full, string(kept)} {
		host.Write(hooktest.EmulatorFile, text)
		for _, test := range []struct {
			machine       guard.Machine
			want, divides guard.Known
		}{
			{guard.Machine{Kind: "kvm", Name: "pc-i440fx-7.2"}, guard.Yes, guard.No},
			{guard.Machine{Kind: "kvm", Name: "pc"}, guard.Yes, guard.No},
			{guard.Machine{Kind: "kvm", Name: "microvm"}, guard.No, guard.Yes},
			{guard.Machine{Kind: "kvm", Name: "open"}, guard.No, guard.No},
			{guard.Machine{Kind: "qemu", Name: "isapc"}, guard.Yes, guard.No},
			{guard.Machine{Kind: "kvm", Name: "isapc"}, 0, 0},
			{guard.Machine{Kind: "kvm", Name: "pc-i440fx-9.9"}, 0, 0},
			{guard.Machine{Kind: "kvm"}, 0, 0},
			{guard.Machine{}, 0, 0},
		} {
			got := Read(host.FS()).Releases(hooktest.Emulator, test.machine).QEMU
			if got.DefaultRAM != test.want || got.DividesRAM != test.divides {
				t.Errorf("%+v: %+v, want %d and %d in\n%.200s", test.machine, got, test.want, test.divides, text)
			}
		}
	}
	host.Write(hooktest.EmulatorFile, strings.Replace(full, "<selfvers>9000000<", "<selfvers>6000000<", 1))
	if got := Read(host.FS()).Releases(hooktest.Emulator, guard.Machine{Kind: "kvm", Name: "pc"}).QEMU; got.DividesRAM != 0 || got.DefaultRAM != guard.Yes {
		t.Errorf("of an older libvirt: %+v", got)
	}
}

// TestReleases: libvirt's version says nothing of thread-context where the admin has libvirt not see it.
func TestReleases(t *testing.T) {
	host := hooktest.Incident(t)
	host.Write(hooktest.EmulatorFile, hooktest.Debian12(t))
	for _, test := range []struct {
		conf    string
		libvirt guard.Version
	}{
		{"", 9_000_000},
		{"capability_filters = [ \"vnc\" ]\n", 9_000_000},
		{"capability_filters = [ \"vnc\", 'thread-context' ]\n", 0},
		{"capability_filters = [ \n", 0},
	} {
		host.Write(ConfPath, test.conf)
		got := Read(host.FS()).Releases(hooktest.Emulator, guard.Machine{})
		if got.Libvirt.Version != test.libvirt || got.QEMU.Version != 7_002_022 {
			t.Errorf("%q: %+v", test.conf, got)
		}
	}
}
