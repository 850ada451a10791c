package hook

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hugeguard/guard"
	"hugeguard/sysfs"
	"hugeguard/sysfs/sysfstest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares what was got with what a file keeps.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// TestKernels keeps what is said of every captured kernel, and checks that it
// adds up: total is free, held and unaccounted.
func TestKernels(t *testing.T) {
	files, err := filepath.Glob("../testdata/kernels/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		t.Run(name, func(t *testing.T) {
			fs := sysfstest.Archive(t, file).FS()
			host, err := SurveyAll(fs)
			if err != nil {
				t.Fatal(err)
			}
			AddHolders(fs, &host, time.Now().Add(time.Minute))
			var got strings.Builder
			for _, report := range host.Report() {
				got.WriteString(report.String() + "\n")
				held := *report.Unaccounted
				for _, h := range report.Holders {
					held += h.Pages
				}
				if report.Free+held != report.Total {
					t.Errorf("%s does not add up", report)
				}
			}
			for _, report := range host.SizeReport() {
				got.WriteString(report.String() + "\n")
			}
			golden(t, "../testdata/golden/kernels/"+name+".txt", got.String())
		})
	}
}

// TestGuestNames: the daemon's own pid file is no guest's.
func TestGuestNames(t *testing.T) {
	got := guestNames(sysfstest.Copy(t, incident+"/host").FS())
	if diff := cmp.Diff(map[int]string{3066: "instance-00000001", 3085: "instance-00000002"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestLedger: a page counts once, for the one whom it serves.
func TestLedger(t *testing.T) {
	guest := holderKey{kind: guard.HolderGuest, name: "a", pid: 30}
	ovs := holderKey{kind: guard.HolderOVS, name: "ovs-vswitchd", pid: 20}
	other := holderKey{kind: guard.HolderProcess, name: "testpmd", pid: 10}
	file := func(inode uint64, node int, pages uint64) sysfs.Mapping {
		return sysfs.Mapping{Device: "00:10", Inode: inode, PageKiB: 2048, Pages: map[int]uint64{node: pages}}
	}
	var l ledger
	// A guest's memory, which Open vSwitch maps for each of two ports; memory
	// of Open vSwitch's own in two parts of one file; a private copy; memory
	// that Open vSwitch shares with a process that it serves; an untouched
	// mapping; a SysV segment in two processes, whose number is a memfd's inode.
	second := file(2, 1, 5)
	second.Offset = 1 << 30
	l.add(ovs, []sysfs.Mapping{file(1, 0, 256), file(1, 0, 256), file(2, 0, 7), second, file(3, 1, 4), {Device: "00:10", Inode: 4}, {Device: "00:10", Inode: 7, PageKiB: 2048, File: "/memfd:x (deleted)", Pages: map[int]uint64{0: 1}}, {Device: "00:10", Inode: 7, File: "/SYSV00000000 (deleted)", PageKiB: 2048, Pages: map[int]uint64{0: 1}}})
	l.add(guest, []sysfs.Mapping{file(1, 0, 256)})
	l.add(other, []sysfs.Mapping{file(3, 1, 4), {Device: "00:10", Inode: 9, PageKiB: 1 << 20, Anon: 2, Pages: map[int]uint64{1: 2}}, {Device: "00:10", Inode: 7, File: "/SYSV00000000 (deleted)", PageKiB: 2048, Pages: map[int]uint64{0: 1}}})
	want := []guard.Holder{
		{Kind: guard.HolderProcess, Name: "testpmd", PID: 10, PageKiB: 2048, Pages: map[int]uint64{0: 1, 1: 4}},
		{Kind: guard.HolderProcess, Name: "testpmd", PID: 10, PageKiB: 1 << 20, Pages: map[int]uint64{1: 2}},
		{Kind: guard.HolderOVS, Name: "ovs-vswitchd", PID: 20, PageKiB: 2048, Pages: map[int]uint64{0: 8, 1: 5}},
		{Kind: guard.HolderGuest, Name: "a", PID: 30, PageKiB: 2048, Pages: map[int]uint64{0: 256}},
	}
	if diff := cmp.Diff(want, l.holders()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
