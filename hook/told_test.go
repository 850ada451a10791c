package hook

import (
	"strings"
	"testing"

	"hugeguard/hook/hooktest"
	"hugeguard/sysfs/sysfstest"
)

// TestFixThatFailed: what the kernel did only in part is not printed again. What nobody did is.
func TestFixThatFailed(t *testing.T) {
	const compact, boot = "\n  echo 3 > /proc/sys/vm/drop_caches\n", "was told to do so after an earlier refusal and made fewer pages"
	for _, test := range []struct {
		name string
		make func(h sysfstest.Host) // between the two starts
		want string
	}{
		{"nobody did it", func(sysfstest.Host) {}, compact},
		{"it made some pages", func(h sysfstest.Host) {
			for _, dir := range []string{"sys/kernel/mm", "sys/devices/system/node/node0"} {
				h.Write(dir+"/hugepages/hugepages-2048kB/nr_hugepages", "3500\n")
				h.Write(dir+"/hugepages/hugepages-2048kB/free_hugepages", "3500\n")
			}
		}, boot},
	} {
		host := sysfstest.Archive(t, hooktest.Data("incidents/pool-in-pieces.txtar"))
		xml, err := host.FS().ReadFile("domain.xml", 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{compact, test.want, test.want} {
			f := newCall(t, host, strings.NewReader(string(xml)))
			if status := f.prepare(); status != exitRefuse || len(f.entries) != 1 {
				t.Fatalf("%s: status %d, %+v", test.name, status, f.entries)
			}
			if text := f.entries[0].Message; !strings.Contains(text, want) || want == boot && strings.Contains(text, compact) {
				t.Errorf("%s: start %d: want %q in\n%s", test.name, i, want, text)
			}
			if i == 0 {
				test.make(host)
			}
		}
	}
}
