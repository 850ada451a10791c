package survey

import (
	"reflect"
	"testing"

	"hugeguard/guard"
	"hugeguard/hook/hooktest"
	"hugeguard/hook/survey/libvirt"
)

func TestConfiguredMounts(t *testing.T) {
	mounts := []guard.Mount{{Path: "/dev/hugepages", PageKiB: 2048}, {Path: "/mnt/1G", PageKiB: 1 << 20}, {Path: "/mnt/1G", PageKiB: 2048, Minimum: true}, {Path: "/mnt/1G/in", PageKiB: 1 << 20}}
	for _, test := range []struct {
		paths []string
		want  []guard.Mount
		ok    bool
	}{
		{[]string{}, nil, true},
		{[]string{"/mnt/1G", "/dev/hugepages/"}, []guard.Mount{mounts[2], mounts[0]}, true},
		{[]string{"/mnt/1G/in/libvirt", "/dev/hugepages/vm"}, []guard.Mount{mounts[3], mounts[0]}, true},
		{[]string{"/mnt/1G", "/dev/hugepages2"}, nil, false},
		{[]string{"/run/hugepages"}, nil, false}, // perhaps a link
		{[]string{""}, nil, false},
	} {
		if got, ok := configuredMounts(test.paths, mounts); ok != test.ok || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%q: %+v %v", test.paths, got, ok)
		}
	}
}

// TestSurveyConfiguredMounts: the mounts that the survey finds are those that libvirt was told to use.
func TestSurveyConfiguredMounts(t *testing.T) {
	host := hooktest.Incident(t)
	all, err := Counters(host.FS(), All)
	if err != nil || len(all.Mounts) == 0 || all.Configured {
		t.Fatalf("%+v, %v", all.Mounts, err)
	}
	first := all.Mounts[0].Path
	for conf, want := range map[string]int{"hugetlbfs_mount = '" + first + "'": 1, "hugetlbfs_mount = []": 0} {
		host.Write(libvirt.ConfPath, conf)
		if h, err := Counters(host.FS(), All); err != nil || !h.Configured || len(h.Mounts) != want {
			t.Errorf("%s: %+v, %v", conf, h.Mounts, err)
		}
	}
	for _, conf := range []string{"", "hugetlbfs_mount = '/nowhere'", "rubbish"} {
		host.Write(libvirt.ConfPath, conf)
		if h, err := Counters(host.FS(), All); err != nil || h.Configured || !reflect.DeepEqual(h.Mounts, all.Mounts) {
			t.Errorf("%s: %+v, %v", conf, h.Mounts, err)
		}
	}
}
