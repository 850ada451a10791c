package hook

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hugeguard/hook/config"
	"hugeguard/hook/hooktest"
	"hugeguard/hook/ledger"
)

// launch has the domain of prepare-on-node1.xml start under another name, with
// 256 pages on node 1, where 512 are free.
func (f *fixture) launch(t *testing.T, name string) (status int) {
	t.Helper()
	xml := hooktest.Domain(t, "prepare-on-node1.xml")
	xml = strings.ReplaceAll(xml, "instance-00000003", name)
	at := strings.Index(xml, "<uuid>") + len("<uuid>")
	xml = xml[:at] + uuidOf(name) + xml[at+36:]
	c := call{args: []string{"qemu", name, "prepare", "begin", "-"}, stdin: strings.NewReader(xml),
		stderr: f.call.stderr, fs: f.fs, privileged: true, journal: f.journal}
	f.stderr.Reset()
	f.entries = nil
	return f.timed(t, c.prepare)
}

func uuidOf(name string) string { return fmt.Sprintf("%032x", name)[:36-4] + "-abc" }

// over tells of the end of a start.
func (f *fixture) over(name string) {
	c := call{args: []string{"qemu", name, "stopped", "end", "-"}, fs: f.fs, privileged: true, journal: f.journal}
	f.entries = nil
	c.ended()
}

// claimed returns the names in the ledger.
func (f *fixture) claimed(t *testing.T) (names []string) {
	t.Helper()
	l, err := ledger.Read(f.fs)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range l.Claims {
		names = append(names, c.Name)
	}
	return names
}

// qemu gives a domain a QEMU that began at that many seconds and maps 256 pages
// for its RAM, of which it has touched some on node 1.
func (f *fixture) qemu(name string, pid, began, mapped, touched int) {
	f.host.Write("run/libvirt/qemu/"+name+".pid", fmt.Sprintf("%d\n", pid))
	proc := fmt.Sprintf("proc/%d/", pid)
	f.host.Write(proc+"stat", fmt.Sprintf("%d (qemu-system-x86) S %s%d 0", pid, strings.Repeat("1 ", 18), began*100))
	f.host.Write(proc+"status", "Name:\tqemu-system-x86\nVmRSS:\t1 kB\nHugetlbPages:\t0 kB\n")
	f.host.Write(proc+"numa_maps", "")
	f.host.Write(proc+"maps", "")
	f.host.Write(proc+"smaps", "")
	if mapped == 0 {
		return
	}
	pages := ""
	if touched > 0 {
		pages = fmt.Sprintf(" dirty=%d N1=%d kernelpagesize_kB=2048", touched, touched)
	}
	line := fmt.Sprintf("7f0000000000-%x rw-s 00000000 00:0f 77 /memfd:memory-backend-memfd (deleted)\n", 0x7f0000000000+mapped<<21)
	f.host.Write(proc+"numa_maps", "7f0000000000 bind:1 file=/memfd:memory-backend-memfd\\040(deleted) huge"+pages+"\n")
	f.host.Write(proc+"maps", line)
	f.host.Write(proc+"smaps", line+"KernelPageSize:     2048 kB\nVmFlags: rd wr sh mr mw me ms de ht \n")
}

// node1 sets what node 1 has free and what is reserved of all.
func (f *fixture) node1(free, reserved int) {
	const pool = "hugepages/hugepages-2048kB/"
	f.host.Write("sys/devices/system/node/node1/"+pool+"free_hugepages", fmt.Sprintln(free))
	f.host.Write("sys/kernel/mm/"+pool+"free_hugepages", fmt.Sprintln(free))
	f.host.Write("sys/kernel/mm/"+pool+"resv_hugepages", fmt.Sprintln(reserved))
}

// two lets two domains start, which leaves nothing for a third.
func two(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t, nil)
	f.host.Remove("run/openvswitch")
	for _, name := range []string{"a", "b"} {
		if status := f.launch(t, name); status != exitAccept || len(f.entries) > 0 {
			t.Fatalf("%s: status %d, %+v", name, status, f.entries)
		}
	}
	return f
}

// refused checks that a third start is refused because of guests that start.
func (f *fixture) refused(t *testing.T, names string) {
	t.Helper()
	status := f.launch(t, "c")
	want := "of them for starting guests (" + names + "), 256 needed"
	if status != exitRefuse || !strings.Contains(f.stderr.String(), want) || len(f.entries) != 1 {
		t.Errorf("status %d, %q, %+v; want a refusal %q", status, &f.stderr, f.entries, want)
	}
}

// accepted checks that a third start is allowed without a word.
func (f *fixture) accepted(t *testing.T) {
	t.Helper()
	if status := f.launch(t, "c"); status != exitAccept || len(f.entries) > 0 {
		t.Errorf("status %d, %q, %+v; want it to be allowed", status, &f.stderr, f.entries)
	}
}

func TestStartingGuests(t *testing.T) {
	t.Run("a third", func(t *testing.T) {
		f := two(t)
		f.refused(t, "a, b")
		if got := fmt.Sprint(f.claimed(t)); got != "[a b]" {
			t.Errorf("the ledger has %s", got)
		}
		info, err := os.Stat(f.host.Path(ledger.Path))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
		if info, err := os.Stat(f.host.Path(ledger.Dir)); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%v, %v", info, err)
		}
	})
	t.Run("one is over", func(t *testing.T) {
		f := two(t)
		f.over("a")
		f.accepted(t)
		if got := fmt.Sprint(f.claimed(t)); got != "[b c]" {
			t.Errorf("the ledger has %s", got)
		}
	})
	t.Run("all are over", func(t *testing.T) {
		f := two(t)
		f.over("a")
		f.over("b")
		f.over("nobody")
		if entries, err := os.ReadDir(f.host.Path(ledger.Dir)); err != nil || len(entries) > 0 || len(f.entries) > 0 {
			t.Errorf("%v, %v, %v", entries, err, f.entries)
		}
	})
	t.Run("again", func(t *testing.T) {
		f := two(t)
		if status := f.launch(t, "b"); status != exitAccept || fmt.Sprint(f.claimed(t)) != "[a b]" {
			t.Errorf("status %d, the ledger has %v", status, f.claimed(t))
		}
	})
	t.Run("another boot", func(t *testing.T) {
		f := two(t)
		f.host.Write("proc/sys/kernel/random/boot_id", "another\n")
		f.accepted(t)
	})
	t.Run("no QEMU for a minute", func(t *testing.T) {
		f := two(t)
		f.host.Write("proc/uptime", "5059.00 1.00\n")
		f.refused(t, "a, b")
		f.host.Write("proc/uptime", "5061.00 1.00\n")
		f.accepted(t)
	})
	t.Run("as long as is configured", func(t *testing.T) {
		f := two(t)
		f.host.Write("proc/uptime", "5059.00 1.00\n")
		f.host.Write(config.Path, "starting_limit = 30s\n")
		f.accepted(t)
	})
	t.Run("another daemon", func(t *testing.T) {
		f := newFixture(t, nil)
		f.host.Remove("run/openvswitch")
		f.qemu("driver", 900, 10, 0, 0)
		f.launch(t, "a")
		f.launch(t, "b")
		f.refused(t, "a, b")
		f.qemu("driver", 901, 5000, 0, 0)
		f.accepted(t)
	})
	t.Run("but not where QEMU runs", func(t *testing.T) {
		f := newFixture(t, nil)
		f.host.Remove("run/openvswitch")
		f.qemu("driver", 900, 10, 0, 0)
		f.launch(t, "a")
		f.launch(t, "b")
		f.qemu("a", 910, 5000, 0, 0)
		f.qemu("b", 911, 5000, 0, 0)
		f.qemu("driver", 901, 5000, 0, 0)
		f.refused(t, "a, b")
	})
	t.Run("a QEMU that is gone", func(t *testing.T) {
		f := two(t)
		f.qemu("a", 910, 5000, 0, 0)
		f.refused(t, "a, b") // has seen it
		f.host.Remove("proc/910")
		f.accepted(t)
	})
	t.Run("the pid file of an earlier start", func(t *testing.T) {
		f := newFixture(t, nil)
		f.host.Remove("run/openvswitch")
		f.qemu("a", 910, 4000, 256, 256)
		f.launch(t, "a")
		f.launch(t, "b")
		f.refused(t, "a, b")
	})
	t.Run("mapped", func(t *testing.T) {
		f := two(t)
		f.qemu("a", 910, 5000, 256, 0)
		f.node1(512, 256)
		f.refused(t, "a, b")
		f.over("b")
		f.accepted(t)
	})
	t.Run("touched in part", func(t *testing.T) {
		f := two(t)
		f.qemu("a", 910, 5000, 256, 100)
		f.node1(412, 156)
		f.refused(t, "a, b")
		f.over("b")
		f.accepted(t)
	})
	t.Run("room beside what it lacked when it was seen last", func(t *testing.T) {
		f := two(t)
		f.over("b")
		f.qemu("a", 910, 5000, 256, 206)
		f.node1(306, 50)
		f.accepted(t) // has seen it
		f.over("c")
		f.host.Remove("proc/910")
		f.accepted(t) // without a look at it
		if got := fmt.Sprint(f.claimed(t)); got != "[a c]" {
			t.Errorf("the ledger has %s", got)
		}
		f.over("c")
		f.node1(305, 0)
		f.accepted(t)
		if got := fmt.Sprint(f.claimed(t)); got != "[c]" {
			t.Errorf("the ledger has %s", got)
		}
	})
	t.Run("up", func(t *testing.T) {
		f := two(t)
		f.qemu("a", 910, 5000, 256, 256)
		f.node1(256, 0)
		f.refused(t, "b")
		f.over("b")
		f.accepted(t)
		if got := fmt.Sprint(f.claimed(t)); got != "[c]" {
			t.Errorf("the ledger has %s", got)
		}
	})
	t.Run("a QEMU that cannot be read", func(t *testing.T) {
		f := two(t)
		f.qemu("a", 910, 5000, 256, 100)
		f.host.Write("proc/910/numa_maps", "7f0000000000 bind:1 huge N1=x")
		f.accepted(t)
	})
	t.Run("a QEMU whose page is being cleared", func(t *testing.T) {
		f := two(t)
		f.over("b")
		f.qemu("a", 910, 5000, 256, 100)
		f.host.Write("proc/910/task/910/stat", "910 (qemu) (R) S 1 1")
		f.node1(412, 156)
		f.accepted(t)
		f.over("c")
		f.node1(411, 155) // a page that nobody shows
		if status := f.launch(t, "c"); status != exitRefuse {
			t.Errorf("status %d, %+v", status, f.entries)
		}
		f.host.Write("proc/910/task/911/stat", "911 (qemu) S R) R 1 1")
		if status := f.launch(t, "c"); status != exitAccept || len(f.entries) != 1 || !strings.Contains(f.entries[0].Message, "which the kernel is clearing") {
			t.Errorf("status %d, %+v", status, f.entries)
		}
	})
	t.Run("a QEMU that takes no more", func(t *testing.T) {
		f := two(t)
		f.qemu("a", 910, 5000, 256, 255)
		f.node1(257, 1)
		f.host.Write("proc/uptime", "5010.00 1.00\n")
		f.refused(t, "a, b")
		f.host.Write("proc/uptime", "5069.00 1.00\n")
		f.qemu("b", 911, 5005, 256, 0)
		f.refused(t, "a, b")
		f.host.Write("proc/uptime", "5071.00 1.00\n")
		f.refused(t, "b")
	})
	t.Run("a QEMU that died unseen", func(t *testing.T) {
		f := two(t)
		f.host.Write("run/libvirt/qemu/a.pid", "910\n")
		f.node1(256, 0)
		f.over("b")
		f.accepted(t) // what it had comes back, or is not free
		if got := fmt.Sprint(f.claimed(t)); got != "[a c]" {
			t.Errorf("the ledger has %s", got)
		}
	})
	t.Run("a QEMU that is being made", func(t *testing.T) {
		f := two(t)
		f.host.Write("run/libvirt/qemu/a.pid", "")
		f.refused(t, "a, b")
	})
	t.Run("one that died before", func(t *testing.T) {
		f := newFixture(t, nil)
		f.host.Remove("run/openvswitch")
		f.host.Write("run/libvirt/qemu/a.pid", "910\n")
		f.launch(t, "a")
		f.launch(t, "b")
		f.refused(t, "a, b")
		f.host.Write("run/libvirt/qemu/a.pid", "911\n") // and once more
		f.node1(256, 0)
		f.over("b")
		f.accepted(t)
	})
	t.Run("a daemon that cannot be read", func(t *testing.T) {
		f := newFixture(t, nil)
		f.host.Remove("run/openvswitch")
		f.qemu("driver", 900, 10, 0, 0)
		f.launch(t, "a")
		f.launch(t, "b")
		f.host.Remove("proc/900/stat")
		if err := os.Mkdir(f.host.Path("proc/900/stat"), 0o700); err != nil {
			t.Fatal(err)
		}
		f.refused(t, "a, b")
	})
	t.Run("switched off", func(t *testing.T) {
		f := two(t)
		f.host.Write(config.Path, "claims = off\n")
		f.accepted(t)
	})
	t.Run("only said", func(t *testing.T) {
		f := two(t)
		f.host.Write(config.Path, "mode = warn\n")
		if status := f.launch(t, "c"); status != exitAccept || len(f.entries) != 1 || fmt.Sprint(f.claimed(t)) != "[a b c]" {
			t.Errorf("status %d, %+v, the ledger has %v", status, f.entries, f.claimed(t))
		}
	})
	t.Run("more than a ledger can have", func(t *testing.T) {
		f := two(t)
		f.host.Write(config.Path, "mode = warn\n")
		xml := strings.ReplaceAll(hooktest.Domain(t, "prepare-on-node1.xml"), "524288", "9007199254740991")
		c := call{args: []string{"qemu", "instance-00000003", "prepare", "begin", "-"}, stdin: strings.NewReader(xml),
			stderr: f.call.stderr, fs: f.fs, privileged: true, journal: f.journal}
		if status := inOwnTime(t, c.prepare); status != exitAccept || len(f.entries) != 2 || !strings.Contains(f.entries[0].Message, "the claim of this start cannot be written") {
			t.Errorf("status %d, %+v", status, f.entries)
		}
		f.host.Remove(config.Path)
		f.refused(t, "a, b") // these are known still
	})
	t.Run("worth waiting for", func(t *testing.T) {
		f := two(t)
		f.host.Write(config.Path, "wait_for_starting = 10s\n")
		f.meanwhile = func() {
			time.AfterFunc(220*time.Millisecond, func() {
				c := call{args: []string{"qemu", "a", "started", "begin", "-"}, fs: f.fs, privileged: true, journal: func(entry) error { return nil }}
				c.ended()
			})
		}
		f.accepted(t)
		if want := 250 * time.Millisecond; f.took != want {
			t.Errorf("it took %v, want %v", f.took, want)
		}
	})
	t.Run("not worth waiting for", func(t *testing.T) {
		f := two(t)
		f.host.Write(config.Path, "wait_for_starting = 200ms\n")
		f.refused(t, "a, b")
		if want := 200 * time.Millisecond; f.took != want {
			t.Errorf("it took %v, want %v", f.took, want)
		}
	})
	t.Run("a session daemon", func(t *testing.T) {
		f := newFixture(t, strings.NewReader(hooktest.Domain(t, "prepare-on-node1.xml")))
		f.privileged = false
		if status := f.prepare(); status != exitAccept || f.claimed(t) != nil {
			t.Errorf("status %d, the ledger has %v", status, f.claimed(t))
		}
	})
}

// TestLedgerTrouble: whatever becomes of the ledger, the start is judged without it and allowed with one warning.
func TestLedgerTrouble(t *testing.T) {
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, spoil := range map[string]func(*testing.T, *fixture){
		"cut short": func(t *testing.T, f *fixture) { f.host.Write(ledger.Path, "hugeguard claims 2 bo") },
		"empty":     func(t *testing.T, f *fixture) { f.host.Write(ledger.Path, "") },
		"binary":    func(t *testing.T, f *fixture) { f.host.Write(ledger.Path, "\x7fELF\x00\x00") },
		"foreign":   func(t *testing.T, f *fixture) { f.host.Write(ledger.Path, "hugeguard claims 3 boot \"\"\nend\n") },
		"of an older release": func(t *testing.T, f *fixture) {
			must(t, os.Rename(f.host.Path(ledger.Path), f.host.Path(ledger.Dir+"/claims.json")))
		},
		"absurd": func(t *testing.T, f *fixture) {
			f.host.Write(ledger.Path, strings.Replace(spoilableLedger, " 64 pages", " 18446744073709551615 pages", 1))
		},
		"gigantic":           func(t *testing.T, f *fixture) { must(t, os.Truncate(f.host.Path(ledger.Path), 1<<40)) },
		"writable by others": func(t *testing.T, f *fixture) { must(t, os.Chmod(f.host.Path(ledger.Path), 0o666)) },
		"somebody else's": func(t *testing.T, f *fixture) {
			if err := os.Chown(f.host.Path(ledger.Path), 65534, 65534); err != nil {
				must(t, os.Chmod(f.host.Path(ledger.Path), 0o622)) // not root here
			}
		},
		"a link": func(t *testing.T, f *fixture) {
			must(t, os.Rename(f.host.Path(ledger.Path), f.host.Path("elsewhere")))
			must(t, os.Symlink(f.host.Path("elsewhere"), f.host.Path(ledger.Path)))
		},
		"a FIFO": func(t *testing.T, f *fixture) {
			f.host.Remove(ledger.Path)
			must(t, syscall.Mkfifo(f.host.Path(ledger.Path), 0o600))
		},
		"a directory that is a link": func(t *testing.T, f *fixture) {
			must(t, os.Rename(f.host.Path(ledger.Dir), f.host.Path("elsewhere")))
			must(t, os.Symlink(f.host.Path("elsewhere"), f.host.Path(ledger.Dir)))
		},
		"a directory that is a file": func(t *testing.T, f *fixture) {
			f.host.Remove(ledger.Dir)
			f.host.Write(ledger.Dir, "")
		},
		"a directory that others can write to": func(t *testing.T, f *fixture) { must(t, os.Chmod(f.host.Path(ledger.Dir), 0o777)) },
		"no directory":                         func(t *testing.T, f *fixture) { f.host.Remove("run") },
		"a lock that is never given back": func(t *testing.T, f *fixture) {
			dir, err := unix.Open(f.host.Path(ledger.Dir), unix.O_RDONLY|unix.O_DIRECTORY, 0)
			must(t, err)
			must(t, unix.Flock(dir, unix.LOCK_EX))
			t.Cleanup(func() { unix.Close(dir) })
			// The kernel knows no time of the call's own. The deadline counts for the lock alone: a call has half a minute more.
			f.host.Write(config.Path, "deadline = 100ms\nwait_for_starting = 30s\n")
			f.ownTime = false
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := two(t)
			spoil(t, f)
			status := f.launch(t, "c")
			if status != exitAccept || len(f.entries) != 1 || f.entries[0].Priority != warning || !strings.Contains(f.entries[0].Message, "starting guests") {
				t.Errorf("status %d, %q, %+v; want it to be allowed with one warning", status, &f.stderr, f.entries)
			}
			if text, err := os.ReadFile(f.host.Path("elsewhere")); err == nil && strings.Contains(string(text), `"c"`) {
				t.Error("a link was followed")
			}
		})
	}
}
