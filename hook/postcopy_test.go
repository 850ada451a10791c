package hook

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"hugeguard/guard"
	"hugeguard/hook/config"
	"hugeguard/hook/hooktest"
	"hugeguard/hook/ledger"
	"hugeguard/hook/survey"
)

// status writes libvirt's status of a domain, with a job.
func (f *fixture) status(t *testing.T, name, job string) {
	t.Helper()
	xml := strings.ReplaceAll(hooktest.Domain(t, "prepare-on-node1.xml"), "instance-00000003", name)
	f.host.Write("run/libvirt/qemu/"+name+".xml", "<domstatus state='paused' reason='migration' pid='9'>\n  <monitor path='/x' type='unix'/>\n"+
		"  <qemuCaps>\n    <flag name='another'/>\n  </qemuCaps>\n"+job+"  <domain type='kvm' id='9'>\n"+xml[strings.Index(xml, "\n")+1:]+"</domstatus>\n")
}

// event tells of one.
func (f *fixture) event(name, event string) {
	c := call{args: append([]string{"qemu", name}, strings.Fields(event+" -")...), fs: f.fs, privileged: true, journal: f.journal}
	f.entries = nil
	c.ended()
}

// arriving is the job of a migration to this host, with these flags.
func arriving(flags string) string {
	return "  <job type='none' async='migration in' phase='prepare' flags='" + flags + "' asyncStarted='1780000000000'>\n    <param name='x' value='1'/>\n  </job>\n"
}

// TestPostCopy: a guest that is moved here, and may be by post-copy, gives back the pages that it has had. They are
// owed to it until the migration is over.
func TestPostCopy(t *testing.T) {
	const postCopy, preCopy = "0x8005", "0x5"
	// moved has a guest come in that has all of its pages when libvirt says that it has started.
	moved := func(t *testing.T, job string) *fixture {
		f := newFixture(t, nil)
		f.host.Remove("run/openvswitch")
		if status := f.launch(t, "moved"); status != exitAccept || len(f.entries) > 0 {
			t.Fatalf("status %d, %+v", status, f.entries)
		}
		f.host.Write("proc/uptime", "5002.00 1.00\n")
		f.qemu("moved", 9000, 5001, 256, 256)
		f.node1(256, 0)
		f.status(t, "moved", job)
		f.event("moved", "started begin")
		return f
	}
	// back has it give back all but some of them, of which nothing is promised to it.
	back := func(f *fixture, has int) {
		f.qemu("moved", 9000, 5001, 256, has)
		f.node1(512-has, 0)
	}
	t.Run("all that it gave back is owed to it", func(t *testing.T) {
		f := moved(t, arriving(postCopy))
		back(f, 0)
		if status := f.launch(t, "first"); status != exitAccept || len(f.entries) > 0 {
			t.Fatalf("one for which there is room: status %d, %q", status, &f.stderr)
		}
		f.refused(t, "moved, first")
	})
	// private has it map the same as memory of its own, of which so many pages are promised.
	private := func(t *testing.T, f *fixture, reserved int) {
		for _, file := range []string{"proc/9000/maps", "proc/9000/smaps"} {
			text, err := os.ReadFile(f.host.Path(file))
			if err != nil {
				t.Fatal(err)
			}
			f.host.Write(file, strings.Replace(string(text), "rw-s", "rw-p", 1))
		}
		f.node1(512, reserved)
	}
	t.Run("private memory of which nothing is promised", func(t *testing.T) {
		f := moved(t, arriving(postCopy))
		back(f, 0)
		private(t, f, 0)
		if status := f.launch(t, "first"); status != exitAccept || len(f.entries) > 0 {
			t.Fatalf("one for which there is room: status %d, %q", status, &f.stderr)
		}
		f.refused(t, "moved, first")
	})
	t.Run("private memory that is promised again", func(t *testing.T) {
		f := moved(t, arriving(postCopy))
		back(f, 0)
		private(t, f, 256)
		f.accepted(t)
	})
	t.Run("private memory of which a part is promised", func(t *testing.T) {
		f := moved(t, arriving(postCopy))
		back(f, 100)
		private(t, f, 150)
		f.node1(412, 150) // 156 are still to come
		f.accepted(t)
		f.over("c")
		f.node1(411, 150)
		if status := f.launch(t, "c"); status != exitRefuse {
			t.Errorf("with a page too few: status %d, %q", status, &f.stderr)
		}
	})
	t.Run("a promised page that the kernel is clearing", func(t *testing.T) {
		f := moved(t, arriving(postCopy))
		back(f, 100)
		private(t, f, 155)
		f.host.Write("proc/9000/task/9001/stat", "9001 (qemu-system-x86) R "+strings.Repeat("1 ", 18)+"500100 0")
		f.node1(411, 155) // it is neither free nor promised, and 155 are to come after it
		if status := f.launch(t, "c"); status != exitAccept {
			t.Errorf("status %d, %q", status, &f.stderr)
		}
	})
	t.Run("what it has again is its own", func(t *testing.T) {
		f := moved(t, arriving(postCopy))
		back(f, 100)
		f.node1(412-157, 0) // 156 are owed, and others have taken 157
		if status := f.launch(t, "c"); status != exitRefuse || !strings.Contains(f.stderr.String(), "255 of 1024 free") || !strings.Contains(f.stderr.String(), "(moved)") {
			t.Errorf("status %d, %q", status, &f.stderr)
		}
		f.node1(412, 0)
		f.accepted(t)
	})
	t.Run("before it gives them back", func(t *testing.T) {
		f := moved(t, arriving(postCopy))
		f.accepted(t)
		if got := fmt.Sprint(f.claimed(t)); got != "[moved c]" {
			t.Errorf("the ledger has %s", got)
		}
	})
	t.Run("for longer than a start", func(t *testing.T) {
		f := moved(t, arriving(postCopy))
		back(f, 0)
		f.host.Write("proc/uptime", "99999.00 1.00\n")
		if status := f.launch(t, "first"); status != exitAccept {
			t.Fatalf("status %d, %q", status, &f.stderr)
		}
		f.refused(t, "moved, first")
	})
	t.Run("until the migration is over", func(t *testing.T) {
		f := moved(t, arriving(postCopy))
		back(f, 0)
		f.status(t, "moved", "")
		f.node1(256, 0)
		f.accepted(t)
		if got := fmt.Sprint(f.claimed(t)); got != "[c]" {
			t.Errorf("the ledger has %s", got)
		}
	})
	t.Run("until its QEMU is gone", func(t *testing.T) {
		f := moved(t, arriving(postCopy))
		f.host.Remove("proc/9000")
		f.host.Remove("run/libvirt/qemu/moved.pid")
		f.node1(256, 0)
		f.accepted(t)
	})
	t.Run("until libvirt says that it is stopped", func(t *testing.T) {
		f := moved(t, arriving(postCopy))
		f.event("moved", "stopped end")
		if got := fmt.Sprint(f.claimed(t)); got != "[]" {
			t.Errorf("the ledger has %s", got)
		}
	})
	for name, job := range map[string]string{
		"without post-copy": arriving(preCopy), "not moved": "  <job type='none' async='start' flags='0x8000'/>\n", "moved elsewhere": strings.Replace(arriving(postCopy), "migration in", "migration out", 1),
		"without a job": "", "with flags of no meaning": arriving("all"),
	} {
		t.Run(name, func(t *testing.T) {
			f := moved(t, job)
			if got := fmt.Sprint(f.claimed(t)); got != "[]" {
				t.Errorf("the ledger has %s", got)
			}
		})
	}
	for name, forget := range map[string]func(*fixture){"to be seen": func(*fixture) {}, "to be seen without a claim": func(f *fixture) { f.host.Remove(ledger.Path) }} {
		t.Run(name, func(t *testing.T) {
			f := moved(t, arriving(postCopy))
			back(f, 100)
			forget(f)
			host, blind, err := survey.Full(f.fs, survey.All, config.Default(), time.Now().Add(time.Hour))
			if err != nil || blind != nil || len(host.Starting) != 1 {
				t.Fatalf("%v, %v, starting %+v", err, blind, host.Starting)
			}
			want := guard.Claim{PageKiB: 2048, Pages: 156, Nodes: guard.NodeSet{1}, Hard: true}
			if got := host.Starting[0].Claims; len(got) != 1 || got[0].Pages != want.Pages || got[0].Mapped != 0 || !got[0].Hard {
				t.Errorf("it claims %+v, want %+v", got, want)
			}
			f.status(t, "moved", "")
			host, _, err = survey.Full(f.fs, survey.All, config.Default(), time.Now().Add(time.Hour))
			if err != nil || len(host.Starting) > 0 {
				t.Errorf("when it is there: %v, starting %+v", err, host.Starting)
			}
		})
	}
}
