package hook

import (
	"strings"
	"testing"

	"hugeguard/hook/hooktest"
)

// TestPrepareKnowsReleases: the release at hand turns a warning into silence
// or a refusal, unless the domain or the admin has libvirt believe otherwise.
func TestPrepareKnowsReleases(t *testing.T) {
	newer := strings.Replace(hooktest.Debian12(t), "7002022", "10000013", 1)
	for _, test := range []struct {
		name, xml, caps string
		status, entries int
	}{
		{"unknown", oddSize, "", exitAccept, 1},
		{"7.2", oddSize, hooktest.Debian12(t), exitAccept, 0},
		{"10.0", oddSize, newer, exitRefuse, 1},
		{"rubbish", oddSize, "\x00", exitAccept, 1},
		{"own capabilities", strings.Replace(oddSize, "</devices>",
			"</devices><q:capabilities xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'><q:del capability='thread-context'/></q:capabilities>", 1), newer, exitAccept, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t, strings.NewReader(test.xml))
			if test.caps != "" {
				f.host.Write(hooktest.EmulatorFile, test.caps)
			}
			if status := f.prepare(); status != test.status || len(f.entries) != test.entries {
				t.Fatalf("status %d, %q, journal %+v", status, &f.stderr, f.entries)
			}
			if test.status == exitRefuse && (f.entries[0].Fields["HUGEGUARD_QEMU"] != "10.0.13" || !strings.Contains(f.entries[0].Message, "\njudged for libvirt 9.0.0, QEMU 10.0.13 and Linux ")) {
				t.Errorf("%q, %+v", &f.stderr, f.entries[0])
			}
		})
	}
}

// oddSize is a launch that depends on QEMU's release: a size that is no multiple of the page.
const oddSize = `<domain type='kvm'><name>odd</name><memory unit='MiB'>21</memory><memoryBacking><hugepages>
	<page size='2' unit='MiB'/></hugepages></memoryBacking><devices><emulator>` + hooktest.Emulator + `</emulator></devices></domain>`
