package survey

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/fix"
	"hugeguard/guard/words"
	"hugeguard/hook/config"
	"hugeguard/hook/hooktest"
	"hugeguard/sysfs/sysfstest"
)

// metadataOf is what managers put into the domains that they make.
var metadataOf = map[guard.Manager]string{
	guard.ManagerNova:       `<nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1"><nova:name>v4</nova:name></nova:instance>`,
	guard.ManagerOVirt:      `<ovirt-vm:vm xmlns:ovirt-vm="http://ovirt.org/vm/1.0"><ovirt-vm:clusterVersion>4.7</ovirt-vm:clusterVersion></ovirt-vm:vm>`,
	guard.ManagerKubeVirt:   `<kubevirt xmlns="http://kubevirt.io"><uid>7b1c</uid></kubevirt>`,
	guard.ManagerOpenNebula: `<one:vm xmlns:one="http://opennebula.org/xmlns/libvirt/1.0"><one:name>a</one:name></one:vm>`,
	"cockpit":               `<libosinfo:libosinfo xmlns:libosinfo="http://libosinfo.org/xmlns/libvirt/domain/1.0"/>`,
}

// of returns the XML of the incident's guest as a manager makes it; "" is nobody.
func of(t *testing.T, m guard.Manager) string {
	t.Helper()
	xml := hooktest.Domain(t, "prepare.xml")
	if m == "" {
		return xml
	}
	return strings.Replace(xml, "<memory ", "<metadata>"+metadataOf[m]+"</metadata><memory ", 1)
}

// judgedAs judges a domain on a host, with all that is to be known of it.
func judgedAs(t *testing.T, h sysfstest.Host, xml string) fix.Verdict {
	t.Helper()
	demand, err := domain.Parse([]byte(xml))
	if err != nil {
		t.Fatal(err)
	}
	host, _, err := Full(h.FS(), For(demand), config.Config{Claims: true}, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return fix.Judge(demand, host)
}

const (
	nobodys  = `(?i)nova|vdsm|kube|pod\b|starlingx|system host|hw:mem`
	growHere = `fix \(host\): set node 0's 2M pool to 1280 pages`
)

// TestManagers: the manager of a host is told of what others hold in its own way, where there is one, and
// nobody is told who is not there.
func TestManagers(t *testing.T) {
	files := func(names ...string) func(h sysfstest.Host) {
		return func(h sysfstest.Host) {
			for _, name := range names {
				h.Write(name, "")
			}
		}
	}
	runs := func(name string, uid int, unit string) func(h sysfstest.Host) {
		return func(h sysfstest.Host) {
			h.Write("proc/900/status", fmt.Sprintf("Name:\t%s\nUid:\t%d\t%d\t%d\t%d\nVmRSS:\t1 kB\nHugetlbPages:\t0 kB\n", name, uid, uid, uid, uid))
			h.Write("proc/900/cgroup", "0::/system.slice/"+unit+"\n")
		}
	}
	const (
		inNova    = `fix \(nova\): in nova.conf of this host, then restart nova-compute; then start the instance again(?s:.*)reserved_huge_pages=node:0,size:2048,count:512\n(?s:.*)cost: restarting nova-compute stops no instance`
		inVDSM    = `fix \(ovirt\): in /etc/vdsm/vdsm.conf of this host, in its section \[performance\] if it has one, then run systemctl restart vdsmd; .*\n  \[performance\]\n  reserved_hugepage_count = 1024\n  reserved_hugepage_size = 2048\n`
		inPod     = `fix \(kubernetes\): run ovs-vswitchd \(pid 2974, ovs-vswitchd.service\) in a pod with this limit.*\n  resources:\n    limits:\n      hugepages-2Mi: 2Gi\n`
		onCluster = `fix \(starlingx\): .*\n  system host-lock HOST\n  system host-memory-modify -f application HOST 0 -2M 768\n  system host-unlock HOST\n`
	)
	for _, c := range []struct {
		name       string
		domain     guard.Manager
		host       func(h sysfstest.Host)
		has, lacks string
	}{
		{"nobody", "", nil, growHere, nobodys},
		{"a desktop's tool", "cockpit", nil, growHere, nobodys},
		{"Nova's instance", guard.ManagerNova, nil, inNova, `(?i)vdsm|kubelet|bind ram-node0`},
		{"Nova's configuration", "", func(h sysfstest.Host) { h.Write(hooktest.NovaConf, "[DEFAULT]\n") }, `nova.conf reserves none(?s:.*)` + inNova, "bind ram-node0"},
		{"Nova's process", "", func(h sysfstest.Host) { hooktest.NovaRuns(h, 1000) }, `reserved_huge_pages=node:0,size:2048,count:512`, "bind ram-node0"},
		{"oVirt's guest", guard.ManagerOVirt, nil, growHere + `(?s:.*)` + inVDSM, `(?i)nova|kubelet|bind ram-node0`},
		{"oVirt's host", "", files("etc/vdsm/vdsm.conf"), inVDSM, `(?i)nova|kubelet`},
		{"oVirt's agent", "", runs("vdsmd", 36, "vdsmd.service"), inVDSM, `(?i)nova|kubelet`},
		{"somebody who calls himself oVirt's agent", "", runs("vdsmd", 1000, "x.service"), growHere, nobodys},
		{"KubeVirt's guest", guard.ManagerKubeVirt, nil, `fix \(node\): on the Kubernetes node, outside of this pod: set node 0's 2M pool to(?s:.*)` + inPod, `(?i)nova|vdsm|fix \(host\)|bind ram-node0`},
		{"a node of Kubernetes", "", files("var/lib/kubelet/config.yaml"), growHere + `(?s:.*)systemctl restart kubelet(?s:.*)` + inPod, `(?i)nova|vdsm`},
		{"kubelet", "", runs("kubelet", 0, "kubelet.service"), inPod, `(?i)nova|vdsm`},
		{"OpenNebula's guest", guard.ManagerOpenNebula, nil, growHere, nobodys + `|bind ram-node0`},
		{"OpenNebula's host", "", files("var/tmp/one/im/run_probes"), growHere, nobodys},
		{"StarlingX", guard.ManagerNova, files("etc/platform/platform.conf"),
			`fix \(starlingx\): .*\n  system host-lock HOST\n  system host-memory-modify -f vswitch HOST 0 -2M 512\n  system host-memory-modify -f vswitch HOST 1 -2M 512\n(?s:.*)` + onCluster, `fix \(nova\)|fix \(host\): make`},
		{"Proxmox", "", files("var/lib/pve-cluster/config.db"), growHere, nobodys},
		{"KubeVirt's guest where Nova is", guard.ManagerKubeVirt, func(h sysfstest.Host) { h.Write(hooktest.NovaConf, "[DEFAULT]\n") }, inPod, `(?i)nova`},
		{"Nova's instance below a kubelet", guard.ManagerNova, files("var/lib/kubelet/config.yaml"), inNova, `fix \(kubernetes\)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := hooktest.Incident(t)
			if c.host != nil {
				c.host(h)
			}
			v := judgedAs(t, h, of(t, c.domain))
			text := fmt.Sprintf("%s\n%q", words.Text(v), words.Fields(v))
			if !regexp.MustCompile(c.has).MatchString(text) {
				t.Errorf("%s is not said in\n%s", c.has, text)
			}
			if said := regexp.MustCompile(c.lacks).FindString(text); said != "" {
				t.Errorf("%q is said in\n%s", said, text)
			}
		})
	}
}

// TestInside: in a container a fix is its own, or says that it is not to be made there.
func TestInside(t *testing.T) {
	const id = "3f2a9c1b2d4e5f60718293a4b5c6d7e8f90123456789abcdef0123456789abcd"
	pod := "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id + ".scope\n"
	limit := func(h sysfstest.Host) {
		h.Write("sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages", "256\n")
		h.Write("sys/fs/cgroup/hugetlb.2MB.max", "1048576\n")
		h.Write("sys/fs/cgroup/hugetlb.2MB.current", "0\n")
	}
	for _, c := range []struct {
		name       string
		own        string // its control group
		file       string
		limit      bool
		is         guard.Inside
		has, lacks string
	}{
		{"the host", "0::/system.slice/libvirtd.service\n", "", false, "", growHere, "outside of this"},
		{"a disk of Docker's image", "0::/system.slice/libvirtd.service\n", ".dockerenv", false, "", growHere, "outside of this"},
		{"a disk of Docker's image, without systemd", "0::/\n", ".dockerenv", false, "", growHere, "outside of this"},
		{"a pod", pod, "", false, guard.InsidePod, `fix \(node\): on the Kubernetes node, outside of this pod: set node 0's 2M pool to`, `fix \(host\): make`},
		{"a pod that sees no group", "0::/\n", "dev/termination-log", false, guard.InsidePod, `fix \(node\): on the Kubernetes node, outside of this pod: `, `fix \(host\): make`},
		{"a container", "0::/docker/" + id + "\n", "", false, guard.InsideContainer, `fix \(host\): on the host, outside of this container: set node 0's 2M pool to`, "this pod"},
		{"a container that sees no group", "0::/\n", ".dockerenv", false, guard.InsideContainer, `on the host, outside of this container: `, "this pod"},
		{"Podman's", "0::/\n", "run/.containerenv", false, guard.InsideContainer, `on the host, outside of this container: `, "this pod"},
		{"a limit", "0::/system.slice/libvirtd.service\n", "", true, "", `\n  echo \d+ > /sys/fs/cgroup/hugetlb.2MB.max`, "outside of this"},
		{"a pod's limit", pod, "", true, guard.InsidePod, `fix \(pod\): .*\n  resources:\n    limits:\n      hugepages-2Mi: \d+Mi\n`, `echo \d+ > /sys/fs/cgroup`},
		{"a container's limit", "0::/docker/" + id + "\n", "", true, guard.InsideContainer, `raise the limit to .*outside of this container, its control group has another path\)`, "this pod"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := hooktest.Incident(t)
			h.Write("proc/self/cgroup", c.own)
			if c.file != "" {
				h.Write(c.file, "")
			}
			if c.is == guard.InsideContainer {
				h.Write("proc/self/mounts", "overlay / overlay rw,relatime 0 0\n")
			}
			if c.limit {
				limit(h)
			}
			v := judgedAs(t, h, of(t, ""))
			text := words.Text(v)
			if v.Inside != c.is || v.Decision != guard.Refuse {
				t.Errorf("%s inside %q, want a refusal inside %q", v.Decision, v.Inside, c.is)
			}
			if !regexp.MustCompile(c.has).MatchString(text) || regexp.MustCompile(c.lacks).MatchString(text) {
				t.Errorf("want %q and not %q in\n%s", c.has, c.lacks, text)
			}
		})
	}
}

// TestPageSettings: which pages a guest takes is changed where its manager has that.
func TestPageSettings(t *testing.T) {
	for m, want := range map[guard.Manager]string{
		"":                      "(virsh edit) give ram-node0 2M or 1G pages (<page size='2048' unit='KiB'/> or <page size='1048576' unit='KiB'/> in memoryBacking/hugepages)",
		guard.ManagerNova:       "hw:mem_page_size of the flavor",
		guard.ManagerOVirt:      "custom property hugepages",
		guard.ManagerKubeVirt:   "spec.template.spec.domain.memory.hugepages.pageSize",
		guard.ManagerOpenNebula: "HUGEPAGE_SIZE of its TOPOLOGY",
	} {
		xml := strings.NewReplacer("size='2048'", "size='16384'", "<access mode='shared'/>", "<source type='memfd'/><access mode='shared'/>").Replace(of(t, m))
		v := judgedAs(t, hooktest.Incident(t), xml)
		fixes := words.Fixes(v)
		if len(fixes) != 1 || !strings.Contains(fixes[0].What+" "+strings.Join(fixes[0].Lines, " "), want) {
			t.Errorf("%q: %+v, want %s", m, fixes, want)
		}
		if m != guard.ManagerNova && strings.Contains(strings.ToLower(words.Text(v)), "hw:mem") {
			t.Errorf("%q: a flavor is spoken of in %s", m, words.Text(v))
		}
	}
}

// TestSignsAreDifferent: no sign tells two managers.
func TestSignsAreDifferent(t *testing.T) {
	var all []string
	for _, sign := range signs {
		all = append(append(all, sign.files...), sign.processes...)
	}
	slices.Sort(all)
	if once := slices.Compact(slices.Clone(all)); len(once) != len(all) || len(all) < 10 {
		t.Errorf("%q", all)
	}
}
