package guard_test

import (
	"os"
	"testing"

	. "hugeguard/guard"
	"hugeguard/guard/domain"
	. "hugeguard/guard/guardtest"
)

func BenchmarkJudge(b *testing.B) {
	xml, err := os.ReadFile("../testdata/domains/nova-two-cells.xml")
	if err != nil {
		b.Fatal(err)
	}
	d, err := domain.Parse(xml)
	if err != nil {
		b.Fatal(err)
	}
	host := Pages(1000, 1000)
	for range b.N {
		if v := Judge(d, host.Host); v.Decision != Allow {
			b.Fatal(summary(v))
		}
	}
}
