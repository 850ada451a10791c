package guard

import (
	"os"
	"testing"
)

func BenchmarkJudge(b *testing.B) {
	xml, err := os.ReadFile("../testdata/domains/nova-two-cells.xml")
	if err != nil {
		b.Fatal(err)
	}
	d, err := ParseDomain(xml)
	if err != nil {
		b.Fatal(err)
	}
	host := pages(1000, 1000)
	for range b.N {
		if v := Judge(d, host); v.Decision != Allow {
			b.Fatal(Summary(v))
		}
	}
}
