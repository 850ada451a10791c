package sysfs_test

import (
	"testing"

	"hugeguard/sysfs"
	"hugeguard/sysfs/sysfstest"
)

// TestPoolSetting: of what files set at boot counts what comes last by their names, and a name counts once.
func TestPoolSetting(t *testing.T) {
	h := sysfstest.New(t)
	for _, step := range []struct {
		file, text string
		want       sysfs.PoolSetting
	}{
		{"etc/sysctl.d/README", "vm.nr_hugepages = 1\n", sysfs.PoolSetting{}},
		{"usr/lib/sysctl.d/50-b.conf", "vm.nr_hugepages = 2\n", sysfs.PoolSetting{Pages: 2, File: "/usr/lib/sysctl.d/50-b.conf"}},
		{"etc/sysctl.d/10-a.conf", "vm.nr_hugepages = 3\n", sysfs.PoolSetting{Pages: 2, File: "/usr/lib/sysctl.d/50-b.conf"}},
		{"etc/sysctl.d/60-c.conf", "# vm.nr_hugepages = 4\nvm.swappiness=5\n", sysfs.PoolSetting{Pages: 2, File: "/usr/lib/sysctl.d/50-b.conf"}},
		{"run/sysctl.d/70-d.conf", "-vm/nr_hugepages=0\n", sysfs.PoolSetting{File: "/run/sysctl.d/70-d.conf"}},
		{"etc/sysctl.d/70-d.conf", "", sysfs.PoolSetting{Pages: 2, File: "/usr/lib/sysctl.d/50-b.conf"}},
	} {
		h.Write(step.file, step.text)
		if got := h.FS().PoolSetting(); got != step.want {
			t.Errorf("with %s: %+v, want %+v", step.file, got, step.want)
		}
	}
}
