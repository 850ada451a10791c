package domain_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/fix"
	"hugeguard/guard/guardtest"
	"hugeguard/guard/words"
)

// FuzzParse: whatever the XML, a demand has sane numbers, and judging and rendering it does not end in a panic.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("../../testdata/domains/*.xml")
	if err != nil || len(files) == 0 {
		f.Fatal(err)
	}
	for _, file := range files {
		xml, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(xml)
	}
	f.Fuzz(func(t *testing.T, xml []byte) {
		d, err := domain.Parse(xml)
		if err != nil {
			return
		}
		for _, b := range d.Backends {
			if b.Bytes == 0 || b.Bytes < b.ExactBytes || b.HostNodes != nil && len(b.HostNodes) == 0 {
				t.Errorf("backend %+v", b)
			}
		}
		short := guardtest.Idle(4, 2048, 2048)
		for i := range short.Pools[0].Nodes {
			n := &short.Pools[0].Nodes[i]
			n.Total, n.Free = 10, 0
		}
		for _, host := range []guard.Host{short, {}} {
			v := fix.Judge(d, host)
			if text := words.Text(v); slices.Contains([]byte(text), 0x1b) || slices.Contains([]byte(words.Summary(v)), '\n') {
				t.Errorf("rendered: %q", text)
			}
			words.Fields(v)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	xml, err := os.ReadFile("../../testdata/domains/nova-two-cells.xml")
	if err != nil {
		b.Fatal(err)
	}
	for range b.N {
		if _, err := domain.Parse(xml); err != nil {
			b.Fatal(err)
		}
	}
}
