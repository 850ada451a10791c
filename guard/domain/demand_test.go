package domain_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/fix"
	"hugeguard/guard/guardtest"
	"hugeguard/guard/words"
	"hugeguard/testdata/golden"
)

// hostOf is an idle host of a domain's architecture.
func hostOf(name string) guard.Host {
	switch {
	case strings.HasPrefix(name, "arm64-64k"), strings.HasPrefix(name, "arm64-512m"):
		return guardtest.Idle(64, 512<<10, 2048, 512<<10, 16<<20)
	case strings.HasPrefix(name, "arm64"):
		return guardtest.Idle(4, 2048, 64, 2048, 32<<10, 1<<20)
	case strings.HasPrefix(name, "ppc64le"):
		return guardtest.Idle(64, 2048, 2048, 1<<20)
	}
	return guardtest.Idle(4, 2048, 2048, 1<<20)
}

// TestDemands keeps what is read out of every domain. The golden files agree with the QEMU command lines that libvirt
// 9.0 itself builds for the domains (virsh domxml-to-native), where it builds one.
func TestDemands(t *testing.T) {
	files, err := filepath.Glob("../../testdata/domains/*.xml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no domains: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".xml")
		t.Run(name, func(t *testing.T) {
			xml, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			demand, err := domain.Parse(xml)
			if err != nil {
				t.Fatal(err)
			}
			report := words.NewReport(fix.Judge(demand, hostOf(name)))
			got, err := json.MarshalIndent(struct {
				Decision guard.Decision  `json:"decision"`
				Summary  string          `json:"summary"`
				Demand   []guard.Backend `json:"demand"`
			}{report.Decision, report.Summary, report.Demand}, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			golden.Compare(t, "../../testdata/golden/demand/"+name+".json", string(got)+"\n")
		})
	}
}
