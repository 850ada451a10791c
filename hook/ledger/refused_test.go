package ledger

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"testing"

	"hugeguard/guard"
	"hugeguard/guard/nova"
	"hugeguard/sysfs"
)

// TestRefused: what is kept of a refusal is read again, and only the latest are kept.
func TestRefused(t *testing.T) {
	root := sysfs.New(withRun(t))
	uuid := func(i int) string { return fmt.Sprintf("00000000-0000-0000-0000-%012d", i) }
	want := guard.Instance{Name: "instance-\n1", UUID: uuid(0), Pages: map[nova.Pool]uint64{{Node: 1, PageKiB: 2048}: 512, {Node: 0, PageKiB: 1 << 20}: 2}}
	for range 2 { // the second replaces the first
		if err := KeepRefused(root, want); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadRefused(root, want.UUID); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
	ForgetRefused(root, want.UUID)
	if got, err := ReadRefused(root, want.UUID); err == nil {
		t.Errorf("%+v was not forgotten", got)
	}
	for i := range mostRefused {
		if err := KeepRefused(root, guard.Instance{UUID: uuid(i + 1)}); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadDir(root.Path(RefusedDir))
	if err != nil || len(kept) != mostRefused {
		t.Errorf("%d are kept, %v, want %d", len(kept), err, mostRefused)
	}
	if _, err := ReadRefused(root, uuid(mostRefused)); err != nil {
		t.Errorf("the latest: %v", err)
	}
}

func FuzzParseRefused(f *testing.F) {
	f.Add(refusedText(guard.Instance{Name: "a", Pages: map[nova.Pool]uint64{{Node: 0, PageKiB: 2048}: 5, {Node: 1, PageKiB: 2048}: 6}}))
	f.Add([]byte("hugeguard refused 1 \"a\"\n1 pages of 0 KiB on node 1\n"))
	f.Add([]byte("hugeguard refused 1 \"a\"\n1 pages of 4 KiB on node 1\n1 pages of 4 KiB on node 1\n"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, text []byte) {
		i, err := ParseRefused(text)
		if err == nil && !bytes.Equal(refusedText(i), text) {
			t.Errorf("%q is %+v", text, i)
		}
	})
}
