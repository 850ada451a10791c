package domain

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"hugeguard/guard"
)

// withArguments is a guest of 64 MiB whose QEMU gets these arguments, with more of its XML.
func withArguments(more string, arguments ...string) string {
	var args strings.Builder
	for _, a := range arguments {
		fmt.Fprintf(&args, `<qemu:arg value='%s'/>`, strings.ReplaceAll(a, "<", "&lt;"))
	}
	return `<domain type='kvm' xmlns:qemu='` + qemuNamespace + `'><name>a</name><memory unit='MiB'>64</memory>` + more +
		`<os><type arch='x86_64'>hvm</type></os><qemu:commandline>` + args.String() + `</qemu:commandline></domain>`
}

// TestArguments: what QEMU is told beside libvirt, in its own syntax. What is not understood is unsure.
func TestArguments(t *testing.T) {
	const mib = 1 << 20
	object := func(b guard.Backend) guard.Backend {
		b.Own, b.Global, b.ExactBytes, b.From = true, true, b.Bytes, "qemu:commandline"
		if b.Policy == "" {
			b.Policy = guard.PolicyDefault
		}
		if b.Strength == "" {
			b.Strength = guard.Soft
		}
		return b
	}
	ram := object(guard.Backend{ID: "pc.ram", Path: "/h", Bytes: 64 * mib, Unsure: true, Lazy: true})
	ram.From = "-mem-path in qemu:commandline"
	touched := ram
	touched.Lazy = false
	file := func(bytes uint64) guard.Backend {
		return object(guard.Backend{ID: "m", Path: "/h", Bytes: bytes, Lazy: true})
	}
	bound := file(64 * mib)
	bound.Lazy, bound.HostNodes, bound.Policy, bound.Strength = false, guard.NodeSet{0, 1, 3}, guard.PolicyBind, guard.Hard
	memfd := object(guard.Backend{ID: "m", Memfd: true, PageKiB: 1 << 20, Bytes: 1 << 30, Lazy: true})
	unsure := func(b guard.Backend) guard.Backend { b.Unsure = true; return b }
	prepared := file(64 * mib)
	prepared.Lazy = false
	comma := file(64 * mib)
	comma.Path = "/h,size=1G"
	for _, test := range []struct {
		name      string
		arguments []string
		want      []guard.Backend
	}{
		{"none", []string{"-device", "x"}, nil},
		{"a file", []string{"-object", "memory-backend-file,id=m,size=64M,mem-path=/h,share=on"}, []guard.Backend{file(64 * mib)}},
		{"named by its key, two dashes", []string{"--object", "qom-type=memory-backend-file,mem-path=/h,id=m,size=0x4000000"}, []guard.Backend{file(64 * mib)}},
		{"a fraction", []string{"-object", "memory-backend-file,id=m,size=1.5G,mem-path=/h"}, []guard.Backend{file(1536 * mib)}},
		{"bytes", []string{"-object", "memory-backend-file,id=m,size=4096,mem-path=/h"}, []guard.Backend{file(4096)}},
		{"the last counts", []string{"-object", "memory-backend-file,id=m,size=1G,size=64M,mem-path=/h"}, []guard.Backend{file(64 * mib)}},
		{"a comma in a path", []string{"-object", "memory-backend-file,id=m,size=64M,mem-path=/h,,size=1G"}, []guard.Backend{comma}},
		{"bound", []string{"-object", "memory-backend-file,id=m,size=64M,mem-path=/h,host-nodes=0-1,host-nodes=3,policy=bind,prealloc=yes"}, []guard.Backend{bound}},
		{"JSON", []string{"-object", `{"qom-type":"memory-backend-file","id":"m","size":67108864,"mem-path":"/h","host-nodes":[0,1,3],"policy":"bind","prealloc":true}`}, []guard.Backend{bound}},
		{"all are touched", []string{"-object", "memory-backend-file,id=m,size=64M,mem-path=/h", "-mem-prealloc"}, []guard.Backend{prepared}},
		{"a memfd", []string{"-object", "memory-backend-memfd,id=m,size=1G,hugetlb=on,hugetlbsize=1G"}, []guard.Backend{memfd}},
		{"a memfd of ordinary pages", []string{"-object", "memory-backend-memfd,id=m,size=1G"}, nil},
		{"memory of ordinary pages", []string{"-object", "memory-backend-ram,id=m,size=1G"}, nil},
		{"a secret", []string{"-object", "secret,id=m,data=x,mem-path=/h"}, nil},
		{"no size", []string{"-object", "memory-backend-file,id=m,mem-path=/h"}, []guard.Backend{unsure(file(0))}},
		{"no number", []string{"-object", "memory-backend-file,id=m,size=1_0M,mem-path=/h"}, []guard.Backend{unsure(file(0))}},
		{"not reserved", []string{"-object", "memory-backend-file,id=m,size=64M,mem-path=/h,reserve=off"}, []guard.Backend{unsure(file(64 * mib))}},
		{"a policy that is none", []string{"-object", "memory-backend-file,id=m,size=64M,mem-path=/h,policy=bind"},
			[]guard.Backend{unsure(func() guard.Backend {
				b := file(64 * mib)
				b.Policy, b.Strength = guard.PolicyBind, guard.Hard
				return b
			}())}},
		{"RAM", []string{"-mem-path", "/h"}, []guard.Backend{ram}},
		{"RAM that is touched", []string{"-mem-prealloc", "-mem-path", "/h"}, []guard.Backend{touched}},
		{"an option without its value", []string{"-mem-path"}, nil},
	} {
		xml := withArguments("", test.arguments...)
		d, err := Parse([]byte(xml))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if diff := cmp.Diff(test.want, d.Backends, cmpopts.IgnoreUnexported(guard.Backend{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
		left, err := Reduce([]byte(xml))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		again, err := Parse(left)
		if err != nil || !cmp.Equal(d, again, cmpopts.IgnoreUnexported(guard.Backend{})) {
			t.Errorf("%s: a capture keeps another demand, %v:\n%s", test.name, err, left)
		}
		if strings.Contains(string(left), "data=") {
			t.Errorf("%s: a capture keeps a secret: %s", test.name, left)
		}
	}
	for _, more := range []string{"<cpu><numa><cell id='0' cpus='0' memory='65536'/></numa></cpu>", "<memoryBacking><hugepages/></memoryBacking>"} {
		d, err := Parse([]byte(withArguments(more, "-mem-path", "/h")))
		if err != nil || len(d.Backends) > 0 && d.Backends[0].Own {
			t.Errorf("QEMU goes by -mem-path in spite of %s: %v", more, err)
		}
	}
}

// TestBackingDir: which memory libvirt has in files, and whether QEMU touches it.
func TestBackingDir(t *testing.T) {
	const cells = "<cpu><numa><cell id='0' cpus='0' memory='32768'/><cell id='1' cpus='1' memory='32768'/></numa></cpu>"
	const file, immediate = "<source type='file'/>", "<allocation mode='immediate'/>"
	for _, test := range []struct {
		name, backing, more string
		want                string
	}{
		{"files", file, "", "pc.ram lazy"},
		{"files that are touched", file + immediate, "", "pc.ram"},
		{"files of cells", file, cells, "ram-node0 lazy, ram-node1 lazy"},
		{"shared", "<access mode='shared'/>", "", "pc.ram lazy unsure"},
		{"one cell is shared", "", strings.Replace(cells, "cpus='1'", "cpus='1' memAccess='shared'", 1), "ram-node1 lazy unsure"},
		{"memfd", "<source type='memfd'/><access mode='shared'/>", "", ""},
		{"anonymous", "<source type='anonymous'/>", "", ""},
		{"one cell on huge pages", file + "<hugepages><page size='2048' nodeset='1'/></hugepages>", cells, "ram-node0 lazy"},
		{"a DIMM", file, cells + "<devices><memory model='dimm'><target><size unit='MiB'>16</size><node>0</node></target></memory></devices>",
			"ram-node0 lazy, ram-node1 lazy, memdimm0 lazy"},
		{"none", immediate, cells, ""},
	} {
		d, err := Parse([]byte(withArguments("<memoryBacking>" + test.backing + "</memoryBacking>" + test.more)))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		var got []string
		for _, b := range d.Backends {
			if b.Path != guard.BackingDir {
				continue
			}
			text := b.ID
			if b.Lazy {
				text += " lazy"
			}
			if b.Unsure {
				text += " unsure"
			}
			got = append(got, text)
		}
		if text := strings.Join(got, ", "); text != test.want {
			t.Errorf("%s: %q, want %q", test.name, text, test.want)
		}
	}
}

// FuzzArguments: no argument of QEMU's is fatal, and a capture keeps what is read of each.
func FuzzArguments(f *testing.F) {
	for _, text := range []string{"memory-backend-file,id=m,size=1.5G,mem-path=/h,,x,share,host-nodes=0-1,policy=bind",
		`{"qom-type":"memory-backend-file","id":"m","size":1,"mem-path":"/h","host-nodes":[0]}`, "memory-backend-memfd,hugetlb=on,hugetlbsize=0x200000", ","} {
		f.Add("-object", text)
		f.Add("--mem-path", text)
	}
	f.Fuzz(func(t *testing.T, option, value string) {
		c := commandline{}
		for _, text := range []string{option, value} {
			c.Args = append(c.Args, struct {
				Value string `xml:"value,attr"`
			}{text})
		}
		for _, b := range c.read().objects {
			if b.Path == "" && !b.Memfd || b.Bytes > 1<<63 || !b.Own {
				t.Errorf("%q %q is %+v", option, value, b)
			}
		}
	})
}
