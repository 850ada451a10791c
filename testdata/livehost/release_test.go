package livehost

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"hugeguard/hook/survey"
	"hugeguard/sysfs"
)

const qemuConf = "/etc/libvirt/qemu.conf"

// A rule that differs between releases is no reason to warn where libvirt's own files tell which they are:
// this QEMU rounds an odd size up, so its domain starts in silence.
func TestReleasesAreKnown(t *testing.T) {
	s := begin(t, 34)
	s.installGuard()
	d := domain{name: "odd", mib: 65, mode: "restrictive", emulator: emulator}
	s.define(d)
	s.virsh("domcapabilities", "--emulatorbin", emulator)
	version := s.virsh("version")
	ask := func() (decision, libvirt, qemu, cpuset string) {
		file := s.path("check.xml")
		s.must(os.WriteFile(file, []byte(s.virsh("dumpxml", "--inactive", d.name)), 0o644))
		out, err := run(s.cli, "check", "--json", file)
		s.must(err)
		report := struct {
			Decision string
			Releases struct {
				Libvirt, QEMU string
				Cpuset        *bool
			}
		}{}
		s.must(json.Unmarshal([]byte(out), &report))
		cpuset = "unknown"
		if r := report.Releases; r.Cpuset != nil {
			cpuset = fmt.Sprint(*r.Cpuset)
		}
		return report.Decision, report.Releases.Libvirt, report.Releases.QEMU, cpuset
	}
	decision, libvirt, qemu, cpuset := ask()
	if decision != "allow" || cpuset != "false" ||
		!strings.Contains(version, "Using library: libvirt "+libvirt+"\n") || !strings.Contains(version, "Running hypervisor: QEMU "+qemu+"\n") {
		t.Errorf("check says %s, libvirt %s, QEMU %s, cpuset %s; virsh says %s", decision, libvirt, qemu, cpuset, version)
	}
	_, _, err := s.start(d)
	s.must(err)
	if n := hugePagesOf(s.qemuPID(d)); n != 33 {
		t.Errorf("QEMU holds %d pages, want 33", n)
	}
	if entries := s.guardEntries(); len(entries) > 0 {
		t.Errorf("the start made journal entries: %q", entries)
	}

	s.virsh("destroy", d.name)
	s.must(s.noTraces())

	// What the daemon has not read is not believed, even if it says the same.
	text, err := os.ReadFile(qemuConf)
	s.must(err)
	s.must(os.WriteFile(qemuConf, text, 0o644))
	if _, _, _, cpuset := ask(); cpuset != "unknown" {
		t.Errorf("qemu.conf is newer than the daemon, and cpuset is %s", cpuset)
	}
	s.must(s.libvirtd.stop())
	s.must(s.startLibvirtd())
	if _, _, _, cpuset := ask(); cpuset != "false" {
		t.Errorf("the daemon has read qemu.conf, and cpuset is %s", cpuset)
	}
}

// hugetlbfs_mount of qemu.conf is read as libvirt reads it: the mount is the one on its command line, and
// what libvirt does not understand is not believed.
func TestConfiguredMounts(t *testing.T) {
	const second = "/dev/hugepages-second"
	s := begin(t, 34)
	s.installGuard()
	s.must(os.Mkdir(second, 0o755))
	s.must(mount("hugetlbfs", second, "hugetlbfs", 0, "pagesize=2M"))
	common, err := os.ReadFile(qemuConf)
	s.must(err)
	stop := func() {
		if s.libvirtd.running() {
			s.check(s.libvirtd.stop())
		}
	}
	restart := func(conf string) error {
		stop()
		s.must(os.WriteFile(qemuConf, []byte(conf), 0o644))
		return s.startLibvirtd()
	}
	t.Cleanup(func() {
		virsh("destroy", "mounted")
		stop() // the next one must not find the mount
		s.check(syscall.Unmount(second, 0))
		s.check(os.Remove(second))
		s.check(restart(string(common)))
	})
	d := domain{name: "mounted", mib: 64, cells: 1}
	s.define(d)
	file := s.path("native.xml")
	s.must(os.WriteFile(file, []byte(d.xml()), 0o644))
	onCommandLine := regexp.MustCompile(`"mem-path":"([^"]*)"`)

	const mounts, none = "hugetlbfs_mount", "none"
	for _, test := range []struct {
		lines string
		want  string // the mount, none if libvirt finds none, "" if the daemon does not start
	}{
		{"", hugetlbfs},
		{mounts + ` = "` + second + `"`, second},
		{mounts + `='` + second + `/'# why`, second},
		{"# two\n" + mounts + " = [\n\t\"" + second + "\" ,\r\n\n  '" + hugetlbfs + "', ]", second},
		{mounts + " = [ \"\"\"" + hugetlbfs + "\"\"\", '" + second + "' ]\n\n", hugetlbfs},
		{mounts + " = '" + hugetlbfs + "'; " + mounts + " = '" + second + "'", hugetlbfs},
		{"max_files = 1024 ;" + mounts + "='" + second + "'\n\t# " + mounts + " = []", second},
		{mounts + " = []", none},
		{mounts + " = [ '" + hugetlbfs + "', # first\n '" + second + "' ]", ""},
		{mounts + " = " + second, ""},
		{mounts + " = '" + second + "\n'", ""},
		{mounts + " = 1", ""},
		{mounts + " = '" + second + "' group = 'root'", ""},
		{mounts + " = '/nowhere'", ""},
	} {
		err := restart(string(common) + test.lines)
		host, surveyErr := survey.Counters(sysfs.New(""), survey.All)
		s.must(surveyErr)
		believed := ""
		switch {
		case host.Configured && len(host.Mounts) == 0:
			believed = none
		case host.Configured:
			believed = host.Mounts[0].Path
		}
		if err != nil {
			if test.want != "" || believed != "" {
				t.Errorf("%q: %v; want %q, the guard believes %q", test.lines, err, test.want, believed)
			}
			continue
		}
		command, err := virsh("domxml-to-native", "qemu-argv", "--xml", file)
		is := none
		if err == nil {
			found := onCommandLine.FindStringSubmatch(command)
			if found == nil {
				t.Fatalf("no mem-path in %s", command)
			}
			is, _, _ = strings.Cut(path.Clean(found[1]), "/libvirt/")
		} else if !strings.Contains(err.Error(), "disabled by administrator config") {
			t.Error(err)
		}
		if is != test.want || test.lines != "" && believed != is {
			t.Errorf("%q: libvirt uses %s, the guard believes %q, want %q", test.lines, is, believed, test.want)
		}
	}

	// A guest really starts there, and the guard has nothing to say.
	s.must(restart(string(common) + mounts + " = [ '" + second + "', '" + hugetlbfs + "' ]"))
	s.starts(d)
	onSecond := 0
	for file, pages := range hugeMaps(s.qemuPID(d)) {
		if strings.HasPrefix(file, second+"/libvirt/qemu/") {
			onSecond += pages
		}
	}
	if onSecond != 32 {
		t.Errorf("%d pages lie on %s: %v", onSecond, second, hugeMaps(s.qemuPID(d)))
	}
}
