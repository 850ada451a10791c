package compute

import (
	"os"
	"testing"

	"hugeguard/hook/hooktest"
)

func FuzzParseInstance(f *testing.F) {
	for _, name := range []string{"nova-two-cells", "nova-mixed-sizes", "page-2m"} {
		xml, err := os.ReadFile(hooktest.Data("domains/" + name + ".xml"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(xml)
		f.Add(append(append([]byte("<domstatus state='running' pid='1'>"), xml...), "</domstatus>"...))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		instance, err := ParseInstance(text)
		if instance == nil {
			return
		}
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		for pool := range instance.Pages {
			if pool.PageKiB == 0 || pool.Node < 0 {
				t.Errorf("%q: %+v", text, instance)
			}
		}
	})
}
