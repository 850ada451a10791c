package domain

import (
	"slices"
	"testing"

	"hugeguard/guard"
)

func TestParseNodeSet(t *testing.T) {
	for text, want := range map[string]string{
		"0": "0", "0-3": "0-3", "3,1,1": "1,3", "0-3,^2": "0-1,3", " 1 , 4 - 5 ": "1,4-5", "^2,0-3": "0-3", "1023": "1023", "0-1,63-64": "0-1,63-64",
		"0,": "0", "1024,16383": "1024,16383", "007": "7", "0-2,^1,1": "0-2", "\t0\n": "0",
	} {
		got, err := parseNodeSet(text)
		if err != nil || got.String() != want {
			t.Errorf("%q: %v, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", ",", "a", "1-", "-1", "3-1", "^0-1", "0,^0", "16384", "^16384,0", "0-16384", "^ 1,0", "0,,", ",0", "0-1-2", "1 2", "+1", "0x1", "0--1", "0-99999999999999999999", "1;2", "\x00"} {
		if got, err := parseNodeSet(text); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}

func TestScale(t *testing.T) {
	for _, test := range []struct {
		value uint64
		unit  string
		kib   uint64
	}{
		{5, "", 5}, {1024, "b", 1}, {1025, "bytes", 2}, {1, "KB", 1}, {2000, "KB", 1954}, {1, "MiB", 1024}, {1, "m", 1024},
		{1, "MB", 977}, {2, "g", 2 << 20}, {1, "TiB", 1 << 30}, {1, "PiB", 1 << 40}, {1, "E", 1 << 50}, {0, "GiB", 0},
	} {
		if kib, err := scale(test.value, test.unit); err != nil || kib != test.kib {
			t.Errorf("%d %s: %d, %v, want %d", test.value, test.unit, kib, err, test.kib)
		}
	}
	for value, unit := range map[uint64]string{1: "X", 2: "KiBi", 3: "bb", 16: "EiB", 1 << 63: "KiB", 1 << 62: "GiB"} {
		if kib, err := scale(value, unit); err == nil {
			t.Errorf("%d %s is taken for %d KiB", value, unit, kib)
		}
	}
}

// FuzzParseNodeSet: a set is ascending, and what is printed of it is the set.
func FuzzParseNodeSet(f *testing.F) {
	for _, text := range []string{"0-3,^2", " 1 , 4 - 5 ,", "16383", "^2,0-3", "0-99999999999"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		set, err := parseNodeSet(text)
		if err != nil {
			return
		}
		again, err := parseNodeSet(set.String())
		if err != nil || !slices.Equal(set, again) || !slices.IsSorted(set) || len(slices.Compact(slices.Clone(set))) != len(set) || set[0] < 0 || set[len(set)-1] >= nodeLimit {
			t.Errorf("%q is read as %v, which is printed as %s", text, []int(set), set)
		}
	})
}

// TestPinned has what QEMU's own threads are pinned to (qemuProcessSetupPid).
func TestPinned(t *testing.T) {
	const auto = "<numatune><memory mode='strict' placement='auto'/></numatune>"
	for _, test := range []struct {
		pinning string
		is      bool
		to      guard.CPUSet
	}{
		{"", false, nil},
		{"<vcpu>2</vcpu>", false, nil},
		{"<vcpu cpuset='1-3,^2'>2</vcpu>", true, guard.CPUSet{1, 3}},
		{"<vcpu cpuset='1'>2</vcpu><cputune><emulatorpin cpuset='4-5'/></cputune>", true, guard.CPUSet{4, 5}},
		{"<vcpu placement='auto'>2</vcpu><cputune><emulatorpin cpuset='4'/></cputune>", true, guard.CPUSet{4}},
		{"<vcpu placement='auto' cpuset='1'>2</vcpu>", true, nil}, // libvirt ignores the set
		{"<vcpu placement='static'>2</vcpu>" + auto, true, nil},
		{"<vcpu cpuset='1'>2</vcpu>" + auto, true, guard.CPUSet{1}},
		{"<cputune><vcpupin vcpu='0' cpuset='1'/></cputune>" + auto, false, nil},
		{"<cputune><vcpupin vcpu='0' cpuset='1'/></cputune>", false, nil},
		{"<cputune><emulatorpin cpuset='none'/></cputune>", true, nil},
	} {
		d, err := Parse([]byte(`<domain><memory unit='MiB'>20</memory><memoryBacking><hugepages/></memoryBacking>` + test.pinning + `</domain>`))
		if err != nil {
			t.Fatal(err)
		}
		if b := d.Backends[0]; b.Pinned != test.is || !slices.Equal(b.PinnedTo, test.to) {
			t.Errorf("%s: %v, %v", test.pinning, b.Pinned, b.PinnedTo)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]uint64{"4G": 4 << 20, " 512 MiB ": 512 << 10, "2048": 2048, "1k": 1, "1b": 1} {
		if kib, err := Size(text); err != nil || kib != want {
			t.Errorf("%q: %d, %v, want %d", text, kib, err, want)
		}
	}
	for _, text := range []string{"", "G", "-1", "1.5G", "4 Q", "99999999999999999999", "9007199254740992"} {
		if kib, err := Size(text); err == nil {
			t.Errorf("%q: %d", text, kib)
		}
	}
}
