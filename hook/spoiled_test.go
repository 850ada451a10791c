package hook

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"hugeguard/hook/config"
	"hugeguard/hook/hooktest"
	"hugeguard/hook/ledger"
	"hugeguard/hook/survey/vswitch"
)

// TestSpoiledFiles: whatever becomes of any one file that a call reads, what fits is allowed and the call ends in time;
// what does not fit is refused still, or allowed with a word.
func TestSpoiledFiles(t *testing.T) {
	launches := []struct {
		xml    string
		status int
		most   int // entries in the journal where nothing is spoiled
	}{{"prepare-on-node1.xml", exitAccept, 0}, {"prepare.xml", exitRefuse, 1}}
	for _, launch := range launches {
		xml := hooktest.Domain(t, launch.xml)
		files := opened(t, xml)
		if len(files) < 20 {
			t.Fatalf("only %q were read", files)
		}
		outcomes := map[string]int{}
		host := spoilable(t, xml).host
		hows := slices.Sorted(maps.Keys(spoilings))
		for i, file := range files {
			text, err := os.ReadFile(host.Path(file))
			if err != nil {
				t.Fatal(err)
			}
			for k, how := range hows {
				// What the race detector may find depends little on how a file is
				// spoiled: it sees every file in one way, and every way in some.
				if raceDetector && (i+k)%len(hows) > 0 {
					continue
				}
				spoil := spoilings[how]
				t.Run(launch.xml+"/"+file+"/"+how, func(t *testing.T) {
					defer func() {
						host.Remove(file)
						host.Write(file, string(text))
					}()
					host.Write(ledger.Path, spoilableLedger)
					f := newCall(t, host, strings.NewReader(xml))
					if err := spoil(host.Path(file)); err != nil {
						t.Fatal(err)
					}
					status := f.prepare()
					// A call that waits for what does not come lets the time pass.
					if f.took > 0 {
						t.Errorf("it waited for %v", f.took)
					}
					if status != exitAccept && (launch.status == exitAccept || f.stderr.Len() == 0) {
						t.Errorf("status %d, stderr %q", status, &f.stderr)
					}
					if status != launch.status && len(f.entries) == 0 {
						t.Errorf("status %d and not a word", status)
					}
					if len(f.entries) > launch.most+1 {
						t.Errorf("%d entries: %+v", len(f.entries), f.entries)
					}
					for _, e := range f.entries {
						if strings.Contains(e.Message, "a bug in hugeguard") || !plainText(e.Message) {
							t.Errorf("the journal has %q", e.Message)
						}
					}
					switch {
					case status == launch.status && len(f.entries) == launch.most:
						outcomes["as if nothing was"]++
					case status == launch.status:
						outcomes["the same, with a warning"]++
					default:
						outcomes["allowed with a warning"]++
					}
				})
			}
		}
		t.Logf("%s: %d files in %d ways: %v", launch.xml, len(files), len(hows), outcomes)
	}
}

// spoilable is the host of the incident with a file of each kind that a call may read.
func spoilable(t *testing.T, xml string) *fixture {
	f := newFixture(t, strings.NewReader(xml))
	f.host.Write(config.Path, "deadline = 500ms\n")
	f.host.Write("proc/sys/kernel/random/boot_id", "4a8e9c1e-5f0b-4c55-9d5b-7f1f0a1c0b11\n")
	f.host.Write("proc/self/auxv", "\x06\x00\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00")
	f.host.Write("etc/nova/nova.conf", "[DEFAULT]\nreserved_huge_pages = node:0,size:2048,count:64\n")
	f.host.Write("run/openvswitch/ovs-vswitchd.pid", "2974\n")
	f.host.Write(vswitch.Captured, hooktest.OVSAnswer(`,["dpdk-socket-mem","1024,1024"]`))
	f.host.Write(ledger.Path, spoilableLedger)
	f.qemu("other", 910, 4991, 64, 0)
	return f
}

// spoilableLedger is of another guest, which is starting on node 1 and has its QEMU there.
const spoilableLedger = `hugeguard claims 2 boot "4a8e9c1e-5f0b-4c55-9d5b-7f1f0a1c0b11"
"other" uuid "u" since 4990000000000 daemon 0 0 before 0 qemu 910 4991000000000 progress 0
 64 pages of 2048 KiB taken 0 mapped 0 hard true nodes 1 cpuset any any false
end
`

// spoilings are what can become of a file.
var spoilings = map[string]func(path string) error{
	"missing":          os.Remove,
	"empty":            func(path string) error { return os.Truncate(path, 0) },
	"a directory":      func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o755)) },
	"a FIFO":           func(path string) error { return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o644)) },
	"a link to itself": func(path string) error { return errors.Join(os.Remove(path), os.Symlink(filepath.Base(path), path)) },
	// Reading it is EIO.
	"unreadable":          func(path string) error { return errors.Join(os.Remove(path), os.Symlink("/proc/self/mem", path)) },
	"without an end":      func(path string) error { return errors.Join(os.Remove(path), os.Symlink("/dev/zero", path)) },
	"gigantic":            func(path string) error { return os.Truncate(path, 1<<40) },
	"cut in the middle":   func(path string) error { return cut(path, 1, 2) },
	"cut after a quarter": func(path string) error { return cut(path, 1, 4) },
	"without its last byte": func(path string) error {
		info, err := os.Stat(path)
		return errors.Join(err, os.Truncate(path, max(0, info.Size()-1)))
	},
	"binary": func(path string) error {
		return os.WriteFile(path, []byte("\x7fELF\x02\x01\x00\x00\xff\xfe\n\n\x1b[2J"), 0o644)
	},
	"a long line":     func(path string) error { return os.WriteFile(path, []byte(strings.Repeat("7", 300_000)), 0o644) },
	"many lines":      func(path string) error { return os.WriteFile(path, []byte(strings.Repeat("7 7\n", 300_000)), 0o644) },
	"below zero":      func(path string) error { return os.WriteFile(path, []byte("-1\n"), 0o644) },
	"beyond counting": func(path string) error { return os.WriteFile(path, []byte("99999999999999999999\n"), 0o644) },
}

func cut(path string, part, of int64) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, info.Size()*part/of)
}

// opened returns the files of the host that a call opens.
func opened(t *testing.T, xml string) []string {
	f := spoilable(t, xml)
	watch, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(watch)
	names := map[int]string{}
	root := f.host.Path("")
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		id, err := unix.InotifyAddWatch(watch, path, unix.IN_OPEN)
		names[id], _ = filepath.Rel(root, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	f.prepare()
	var files []string
	for buf := make([]byte, 64<<10); ; {
		n, err := unix.Read(watch, buf)
		if err == unix.EAGAIN {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		// struct inotify_event: wd, mask, cookie, len; files have no name.
		for event := buf[:n]; len(event) >= unix.SizeofInotifyEvent; event = event[unix.SizeofInotifyEvent:] {
			files = append(files, names[int(int32(binary.NativeEndian.Uint32(event)))])
		}
	}
	slices.Sort(files)
	return slices.Compact(files)
}
