package ledger

import (
	"slices"
	"testing"

	"hugeguard/guard"
	"hugeguard/sysfs"
)

// TestTold: what is kept of fixes is read again, in place of what was kept before.
func TestTold(t *testing.T) {
	root := sysfs.New(withRun(t))
	want := []guard.Told{{Node: 1, PageKiB: 2048, Pages: 512, Had: 5, AvailableKiB: 1 << 20, Failed: true}, {PageKiB: 1 << 20, Pages: 3}}
	for _, want := range [][]guard.Told{want, want[1:]} {
		if err := KeepTold(root, want); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadTold(root); err != nil || !slices.Equal(got, want) {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
	if err := KeepTold(root, make([]guard.Told, mostTold+1)); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadTold(root); err == nil {
		t.Errorf("pages of no size are %+v", got)
	}
}

func FuzzParseTold(f *testing.F) {
	f.Add(toldText([]guard.Told{{Node: 1, PageKiB: 2048, Pages: 512, Had: 5, AvailableKiB: 1 << 20, Failed: true}}))
	f.Add([]byte("1 pages of 4 KiB on node 1, of 1, with 1 KiB available, failed: maybe\n"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, text []byte) {
		told, err := ParseTold(text)
		if err == nil && string(toldText(told)) != string(text) {
			t.Errorf("%q is %+v", text, told)
		}
		kept, err := ReduceTold(text)
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := ParseTold(kept); !slices.Equal(again, told) {
			t.Errorf("of %q a capture keeps %q", text, kept)
		}
	})
}
