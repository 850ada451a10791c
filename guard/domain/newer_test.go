package domain_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"hugeguard/guard"
	"hugeguard/guard/domain"
)

// TestNewerElements: what newer releases of libvirt can say of a guest changes nothing in the huge pages that it takes at
// the start. The private memory of a confidential guest lies beside them (guest_memfd), and dynamicMemslots is about
// KVM's slots.
func TestNewerElements(t *testing.T) {
	const text = `<domain type='kvm'><name>g</name><maxMemory slots='4' unit='GiB'>8</maxMemory><memory unit='GiB'>2</memory>
		<memoryBacking><hugepages/><source type='memfd'/></memoryBacking><os><type arch='x86_64' machine='q35'>hvm</type></os>
		<cpu><numa><cell id='0' memory='1' unit='GiB'/></numa></cpu>%s<devices>%s</devices></domain>`
	const virtioMem = `<memory model='virtio-mem'><target%s><size unit='GiB'>1</size><node>0</node><block unit='MiB'>2</block><requested unit='GiB'>1</requested></target></memory>`
	parse := func(more, devices string) guard.Demand {
		demand, err := domain.Parse(fmt.Appendf(nil, text, more, devices))
		if err != nil {
			t.Fatal(err)
		}
		return demand
	}
	plain := parse("", fmt.Sprintf(virtioMem, ""))
	if len(plain.Backends) != 2 {
		t.Fatalf("%+v", plain.Backends)
	}
	for name, demand := range map[string]guard.Demand{
		"SEV-SNP":         parse("<launchSecurity type='sev-snp'><policy>0x00030000</policy></launchSecurity>", fmt.Sprintf(virtioMem, "")),
		"TDX":             parse("<launchSecurity type='tdx'><policy>0x10000001</policy></launchSecurity>", fmt.Sprintf(virtioMem, "")),
		"dynamicMemslots": parse("", fmt.Sprintf(virtioMem, " dynamicMemslots='yes'")),
		"SGX": parse("", fmt.Sprintf(virtioMem, "")+
			"<memory model='sgx-epc'><source><nodemask>0</nodemask></source><target><size unit='MiB'>64</size></target></memory>"),
	} {
		if !reflect.DeepEqual(demand, plain) {
			t.Errorf("%s: %+v, want %+v", name, demand, plain)
		}
	}
}

// TestMemoryAtPath: a device at a path of the admin's is judged for what lies there, also in a guest without huge pages.
// Only an NVDIMM that is none of hardware's is prepared at the start.
func TestMemoryAtPath(t *testing.T) {
	const text = `<domain type='kvm'><name>g</name><maxMemory slots='4' unit='GiB'>8</maxMemory><memory unit='GiB'>2</memory>
		<numatune><memnode cellid='0' mode='strict' nodeset='1'/></numatune><os><type arch='x86_64' machine='q35'>hvm</type></os>
		<cpu><numa><cell id='0' memory='1' unit='GiB'/></numa></cpu><devices>%s</devices></domain>`
	for _, test := range []struct {
		device, id string
		lazy       bool
	}{
		{"<memory model='nvdimm'><source><path>/h/1</path></source>%s", "memnvdimm0", false},
		{"<memory model='nvdimm'><source><path>/h/1</path><pmem/></source>%s", "memnvdimm0", true},
		{"<memory model='virtio-pmem'><source><path>/h/1</path></source>%s", "memvirtiopmem0", true},
		{"<memory model='egm'><source><path>/h/1</path></source>%s", "memegm0", true},
	} {
		device := strings.Replace(test.device, "%s", "<target><size unit='MiB'>512</size><node>0</node></target></memory>", 1)
		demand, err := domain.Parse(fmt.Appendf(nil, text, device))
		if err != nil || len(demand.Backends) != 1 {
			t.Errorf("%s: %+v, %v", device, demand.Backends, err)
			continue
		}
		b := demand.Backends[0]
		if b.ID != test.id || b.Path != "/h/1" || b.Lazy != test.lazy || b.Bytes != 512<<20 || b.Policy != guard.PolicyBind || b.Memfd {
			t.Errorf("%s: %+v", device, b)
		}
	}
}
