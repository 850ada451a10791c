package endtoend

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"hugeguard/install/installtest"
	"hugeguard/sysfs/sysfstest"
)

// program runs the command as a program, without the race detector, which takes its time for the largest inputs and
// finds there what it finds in small ones.
func program(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	cmd := exec.Command("hugeguard", args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return out.String(), errs.String()
}

// archiveOf captures a host, and returns the archive and what was said meanwhile.
func archiveOf(t *testing.T, host string) (archive []byte, said string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "host.tar")
	_, said = program(t, "capture", "--root", host, name)
	archive, err := os.ReadFile(name)
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	return archive, said
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// Nova's configuration may lie anywhere, and be called like any file that is taken as it is.
func TestCaptureOfNovaByAnyName(t *testing.T) {
	const conf = "[DEFAULT]\nreserved_huge_pages = node:0,size:2048,count:64\n[database]\nconnection = mysql://nova:hunter2@host\n"
	bases := []string{
		"cpuset.mems", "cpuset.mems.effective", "cpuset.cpus", "cpuset.", "hugetlb.2MB.max", "hugetlb.", "cgroup.controllers", "cgroup", "x.unsure", "x.statfs",
		"x.files", "fd.files", "mounts", "meminfo", "stat", "auxv", "shm", "uptime", "boot_id", "hugeguard.conf", "qemu.conf", "domain.xml", "x.pid", "db.json",
		"claims", "state.json", "nr_hugepages", "status", "cmdline", "comm", "numa_maps", "smaps", "maps", "1000-2000",
	}
	var named []string
	for _, base := range bases {
		for _, dir := range []string{"etc/nova", "proc/x", "proc/self", "sys/x", "run", "run/libvirt/qemu", "etc/libvirt/qemu", "run/hugeguard", "run/openvswitch", "dev", "dev/hugepages", "sys/fs/cgroupx", "proc/4000/map_files", "proc/4000", "var/cache/libvirt/qemu/capabilities"} {
			named = append(named, dir+"/"+base)
		}
	}
	named = append(named, "dev/hugepages.files", "dev/hugepages.statfs", "etc/libvirt/qemu.conf.unsure")
	for by, belows := range map[string][]string{"nova-compute": {"", "proc/5000/root/"}, "hugeguard.conf": {""}} {
		for _, below := range belows {
			t.Run(by+" "+below, func(t *testing.T) {
				h := sysfstest.Copy(t, incident)
				arguments := "/usr/bin/python3\x00/usr/bin/nova-compute\x00--config-dir\x00/srv/conf\x00--config-dir=/etc/nova/nova.conf.d\x00"
				settings := "nova_conf = /etc/nova/nova.conf.d /srv/conf"
				for _, base := range bases {
					h.Write(below+"etc/nova/nova.conf.d/"+base+".conf", conf)
					h.Write(below+"srv/conf/"+base+".conf", conf)
				}
				for _, name := range named {
					if below == "" && (exists(h.Path(name)) || name == "proc/self/auxv") {
						continue // what a host needs
					}
					h.Write(below+name, conf)
					arguments += "--config-file\x00/" + name + "\x00"
					settings += " /" + name
				}
				h.Write("proc/5000/status", "Name:\tnova-compute\nHugetlbPages:\t       0 kB\n")
				h.Write("proc/5000/stat", "5000 (nova-compute) S 1"+strings.Repeat(" 7", 17)+" 500 7\n")
				h.Write("proc/5000/cmdline", arguments)
				h.Write("proc/5000/cgroup", "0::/system.slice/nova-compute.service\n")
				if by == "hugeguard.conf" {
					h.Write("etc/hugeguard.conf", settings+"\n")
				}
				archive, stderr := archiveOf(t, h.Path(""))
				if strings.Contains(stderr, "hunter2") {
					t.Errorf("said is %s", stderr)
				}
				read := 0
				for _, entry := range installtest.Entries(t, archive) {
					if strings.Contains(entry, "hunter2") || strings.Contains(entry, "connection") {
						t.Errorf("in it is %s", entry)
					}
					if strings.Contains(entry, "node:0,size:2048,count:64") {
						read++
					}
				}
				if read < len(bases) {
					t.Errorf("%d files of Nova's are in it", read)
				}
			})
		}
	}
}

// A long file of a process's is taken in part, and that is said.
func TestCaptureOfLongMaps(t *testing.T) {
	h := sysfstest.Copy(t, incident)
	h.Write("proc/4000/status", "Name:\tholder\nHugetlbPages:\t    2048 kB\n")
	h.Write("proc/4000/cmdline", "holder\x00")
	h.Write("proc/4000/maps", "7f0000000000-7f0000200000 rw-s 00000000 00:10 99 /memfd:ring (deleted)\n")
	line := "7f0000000000 default huge dirty=1 N0=1 kernelpagesize_kB=2048\n"
	// The names are as long as the kernel has any, to be done with it soon.
	other := "00400000 default file=/" + strings.Repeat("x", 4094) + " mapped=1 N0=1 kernelpagesize_kB=4\n"
	h.Write("proc/4000/numa_maps", line+strings.Repeat(other, (64<<20)/len(other)+1)+line)
	archive, stderr := archiveOf(t, h.Path(""))
	const said = "proc/4000/numa_maps: it is too long, so the capture has only its beginning"
	list := strings.Join(installtest.Entries(t, archive), "\n")
	if !strings.Contains(stderr, said) || strings.Count(stderr, said) != 1 || !strings.Contains(list, said) || !strings.Contains(list, fmt.Sprintf("%q", line)) {
		t.Errorf("said is %s", stderr)
	}
}

// A capture from a stranger can have any number of mappings. What is kept of them is bounded, what is not looked at is
// said, and nobody else loses a place by it.
func TestCaptureOfManyMappings(t *testing.T) {
	h := sysfstest.Copy(t, incident)
	const processes, each = 14, 8000
	var numa, maps strings.Builder
	for i := range each {
		at := 0x700000000000 + i<<22
		fmt.Fprintf(&numa, "%x default file=/memfd:x huge dirty=1 N0=1 kernelpagesize_kB=2048\n", at)
		fmt.Fprintf(&maps, "%x-%x rw-s 00000000 00:01 %d /memfd:x\n", at, at+2<<20, 1+i)
	}
	for pid := 50_000; pid < 50_000+processes; pid++ {
		dir := fmt.Sprintf("proc/%d/", pid)
		h.Write(dir+"status", fmt.Sprintf("Name:\tholder\nVmRSS:\t1 kB\nHugetlbPages:\t%d kB\n", each*2048))
		h.Write(dir+"cmdline", "holder\x00")
		h.Write(dir+"numa_maps", numa.String())
		// Each has files of its own.
		h.Write(dir+"maps", strings.ReplaceAll(maps.String(), " 00:01 ", fmt.Sprintf(" 00:%02x ", pid-49_990)))
	}
	out, stderr := program(t, "status", "--root", h.Path(""))
	if stderr != "" || !strings.Contains(out, "Open vSwitch ovs-vswitchd (pid 2974) 512") || !strings.Contains(out, "holder (pid 50000) 8000") ||
		!regexp.MustCompile(`\n  \d+ process(es)? could not be read: holder, pid 500\d\d, with 16000 MiB`).MatchString(out) {
		t.Errorf("%q, %q", out, stderr)
	}
}
