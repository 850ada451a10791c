package survey

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"path"
	"reflect"
	"strings"
	"testing"

	"hugeguard/guard/domain"
	"hugeguard/guard/nova"
	"hugeguard/guard/ovs"
	"hugeguard/hook/config"
	"hugeguard/hook/hooktest"
	"hugeguard/hook/ledger"
	"hugeguard/hook/survey/compute"
	"hugeguard/hook/survey/libvirt"
	"hugeguard/hook/survey/process"
	"hugeguard/hook/survey/vswitch"
)

const bootOfLedger = "4ea7b5a5-8d6f-4d3f-8c59-1f0f7a0f7a0f"

// reads are what is read of the files in [Reductions], by their patterns, with an example of each.
var reads = []struct {
	files, example string
	read           func(text []byte) (any, error)
}{
	{config.Path, "mode = warn\nclaims = of\n", func(text []byte) (any, error) { return string(text), nil }},
	{ledger.Path, string(ledger.Ledger{Boot: bootOfLedger, Claims: []ledger.Claim{{UUID: "u", Name: "early", Since: 999, Parts: []ledger.Part{{PageKiB: 2048, Pages: 5, Nodes: []int{1}, Hard: true}}}}}.Text()),
		func(text []byte) (any, error) { return ledger.Parse(text, bootOfLedger) }},
	{ledger.RefusedDir + "/*", "hugeguard refused 1 \"a\"\n5 pages of 2048 KiB on node 1\n", func(text []byte) (any, error) { return ledger.ParseRefused(text) }},
	{ledger.ToldPath, "4096 pages of 2048 KiB on node 0, of 3000, with 9 KiB available, failed: true\n", func(text []byte) (any, error) { return ledger.ParseTold(text) }},
	{vswitch.Captured, `{"id":0,"result":[{"rows":[{"other_config":["map",[["dpdk-init","true"],["dpdk-socket-mem","1024,1024"],["x","y"]]]}]}],"error":null}`,
		func(text []byte) (any, error) { return ovs.Read(bytes.NewReader(text)) }},
	{vswitch.CapturedUse, `{"id":0,"result":"Heap id:0\n\tHeap name:socket_0\n\tHeap_size:9,\n\tAlloc_size:2048,\n","error":null}`,
		func(text []byte) (any, error) { return ovs.ReadUse(bytes.NewReader(text)) }},
	{"run/libvirt/qemu/*.xml", "", readStatus},
	{"etc/libvirt/qemu/*.xml", "", readDomain},
	{libvirt.ConfPath, "hugetlbfs_mount = \"/dev/hugepages\"\nvnc_password = \"x\"\ncgroup_controllers = [ 'cpuset' ]\n", func(text []byte) (any, error) { return libvirt.ParseConf(text) }},
	{libvirt.CapabilitiesDir + "/*", "", func(text []byte) (any, error) { return libvirt.ParseCapabilities(text) }},
	{compute.DomainLogs + "/*.log", "2026-11-30 16:23:57.265+0000: shutting down, reason=failed\n2026-11-30 16:41:05.125+0000: starting up libvirt version: 9.0.0\n",
		func(text []byte) (any, error) { return compute.Ran(text), nil }},
	{tunedProfile, "virtual-host\n", func(text []byte) (any, error) { return string(text), nil }},
	{hooksDir + "/qemu*", "#!/bin/sh\nfor f in /etc/libvirt/hooks/qemu.d/$1/$2/$3/*; do $f; done\n", readHook},
	{hooksDir + "/qemu.d/*", "#!/bin/sh\necho 8 > /proc/sys/vm/nr_hugepages\n", readHook},
	{hooksDir + "/qemu.d/*/prepare/begin/*", "#!/bin/sh\n", readHook},
	{"proc/[0-9]*/cmdline", "/usr/bin/python3\x00/usr/bin/nova-compute\x00--x\x00--config-file\x00/a\x00--config-dir=/b\x00", readArguments},
}

func readHook(text []byte) (any, error) {
	has := []bool{bytes.HasPrefix(text, []byte("#!"))}
	for _, word := range []string{"hugepages", "qemu.d"} {
		has = append(has, bytes.Contains(text, []byte(word)))
	}
	return has, nil
}

func readDomain(text []byte) (any, error) {
	demand, err := domain.Parse(text)
	instance, _ := compute.ParseInstance(text)
	return []any{demand, instance}, err
}

// readStatus reads a domain as in libvirt's status of it.
func readStatus(text []byte) (any, error) {
	found, err := domain.Find(text)
	if err != nil {
		return nil, err
	}
	demand, err := domain.Parse(found)
	instance, _ := compute.ParseInstance(text)
	return []any{demand, instance, ledger.Arrives(text)}, err
}

func readArguments(text []byte) (any, error) {
	if len(text) == 0 {
		return nil, nil
	}
	arguments := strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
	a := process.ParseArguments(arguments)
	var sources []nova.Source
	if a.Compute != nil {
		sources, a.Compute = nova.Sources(a.Compute), []string{}
	}
	if !a.IsGuest {
		a.UUID = "" // of which nothing is read then
	}
	return []any{a, sources}, nil
}

// wellFormed reports whether libvirt can have written the XML.
func wellFormed(text []byte) bool {
	decoder := xml.NewDecoder(bytes.NewReader(text))
	for {
		_, err := decoder.Token()
		if err != nil {
			return err == io.EOF
		}
	}
}

// Of what is kept of a file, the same is read as of the file, whatever it holds; of what is kept of that, all is kept.
func FuzzReductions(f *testing.F) {
	if len(reads) != len(Reductions) {
		f.Fatalf("%d reductions, and what is read of %d", len(Reductions), len(reads))
	}
	examples := map[string]string{"*.xml": "domains/nova-two-cells.xml", "*": "capabilities/debian12-x86_64.xml"}
	for i, r := range reads {
		if r.files != Reductions[i].Files {
			f.Errorf("of %s it is not known what is read", Reductions[i].Files)
		}
		example := []byte(r.example)
		if name := examples[path.Base(r.files)]; r.example == "" {
			text, err := os.ReadFile(hooktest.Data(name))
			if err != nil {
				f.Fatal(err)
			}
			example = text
		}
		if got, err := r.read(example); err != nil {
			f.Errorf("%s: %v, %v", r.files, got, err)
		}
		f.Add(uint8(i), example)
		f.Add(uint8(i), example[:len(example)/2])
		f.Add(uint8(i), bytes.ReplaceAll(example, []byte("e"), []byte(",")))
		f.Add(uint8(i), []byte{})
	}
	nova, err := os.ReadFile(hooktest.Data("domains/nova-two-cells.xml"))
	if err != nil {
		f.Fatal(err)
	}
	for i, r := range reads {
		if strings.HasPrefix(r.files, "run/libvirt/") {
			f.Add(uint8(i), fmt.Appendf(nil, "<domstatus state='paused'>\n  <monitor path='/hunter2'/>\n  <job type='none' async='migration in' phase='finish' flags='0x8005'>\n  </job>\n%s</domstatus>\n", nova))
		}
	}
	for _, arguments := range []string{
		"ovs-vswitchd-dpdk unix:/run/openvswitch/db.sock --pidfile", "unix:db.sock", "x -name guest=a,,b,debug-threads=on -name guest=c",
		"-name guest=x/nova-compute", "qemu -name guest=,", "qemu -name", "nova-compute --config-file", "ovs-vswitchd nova-compute --config-dir /x/nova-compute", "a b c nova-compute",
	} {
		f.Add(uint8(len(reads)-1), []byte(strings.ReplaceAll(arguments, " ", "\x00")+"\x00"))
	}
	f.Fuzz(func(t *testing.T, which uint8, text []byte) {
		i := int(which) % len(reads)
		if strings.HasSuffix(reads[i].files, ".xml") && !wellFormed(text) {
			return
		}
		want, wantErr := reads[i].read(text)
		kept, err := Reductions[i].Keep(text)
		if err != nil {
			if wantErr == nil && reads[i].files != libvirt.ConfPath {
				t.Errorf("%s: nothing is kept of %q, which is %+v: %v", reads[i].files, text, want, err)
			}
			return
		}
		got, gotErr := reads[i].read(kept)
		if (gotErr == nil) != (wantErr == nil) || gotErr == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q is %+v, %v; what is kept, %q, is %+v, %v", reads[i].files, text, want, wantErr, kept, got, gotErr)
		}
		again, err := Reductions[i].Keep(kept)
		if err != nil || !bytes.Equal(again, kept) {
			t.Errorf("%s: of %q, which is kept, is kept %q, %v", reads[i].files, kept, again, err)
		}
	})
}
