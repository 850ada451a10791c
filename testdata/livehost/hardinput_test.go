package livehost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"golang.org/x/sys/unix"
)

// What the hook must withstand. The pool is empty in these tests, so that whatever it judges it refuses.

// hookRun is one call of the hook program, as libvirt makes it.
type hookRun struct {
	status         int
	stdout, stderr string
	took           time.Duration
}

func (s *scene) callHook(stdin io.Reader, args ...string) hookRun {
	s.t.Helper()
	return s.callProgram(stdin, append([]string{s.hook}, args...)...)
}

func (s *scene) callProgram(stdin io.Reader, argv ...string) (r hookRun) {
	s.t.Helper()
	s.must(s.build())
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdin = cleanEnv(), "/", stdin
	cmd.WaitDelay = time.Second
	cmd.Cancel = func() error {
		s.t.Errorf("%q does not end", argv)
		for _, h := range s.hungs {
			h.abort() // or it could not be killed
		}
		return cmd.Process.Kill()
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	err := cmd.Run()
	r = hookRun{status: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String(), took: time.Since(began)}
	// A hook that did not read its input is none the worse for it.
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, syscall.EPIPE) {
		s.t.Errorf("%q: %v", argv, err)
	}
	return r
}

// lets checks that the call allows the launch and says nothing to libvirt.
func (r hookRun) lets(t *testing.T) {
	t.Helper()
	if r.status != 0 || r.stdout != "" || r.stderr != "" {
		t.Errorf("exit status %d, stdout %q, stderr %q; want 0 and silence", r.status, r.stdout, r.stderr)
	}
}

// A file that is not a domain cannot be judged: it is allowed, with one warning in the journal.
func TestRubbishIsLetGo(t *testing.T) {
	d := domain{name: "rubbish", mib: 64, cells: 1}
	good := d.xml()
	nested := strings.Repeat("<a>", 200_000) + strings.Repeat("</a>", 200_000)
	for _, in := range []struct{ name, stdin string }{
		{"empty", ""},
		{"blanks", " \n\t"},
		{"bytes", "\x00\xff\xfe\x80" + strings.Repeat("\x1b[2J", 100)},
		{"text", "no domain at all"},
		{"10 MB of text", strings.Repeat("A", 10<<20)},
		{"cut off", good[:len(good)/2]},
		{"deeply nested", nested},
		{"deeply nested in metadata", strings.Replace(good, "<devices>", "<metadata>"+nested+"</metadata><devices>", 1)},
		{"another element", "<network><name>rubbish</name></network>"},
		{"entities", `<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><domain><name>&b;</name></domain>`},
		{"no number", strings.Replace(good, "memory='64'", "memory='lots'", 1)},
		{"negative", strings.Replace(good, "memory='64'", "memory='-64'", 1)},
		{"beyond 64 bits", strings.Replace(good, "memory='64'", "memory='99999999999999999999'", 1)},
		{"overflows in bytes", strings.Replace(good, "memory='64' unit='MiB'", "memory='17592186044417' unit='MiB'", 1)},
		{"no unit", strings.Replace(good, "size='2048' unit='KiB'", "size='2048' unit='furlong'", 1)},
		{"no node", strings.ReplaceAll(good, "nodeset='0'", "nodeset='zero'")},
	} {
		t.Run(in.name, func(t *testing.T) {
			s := begin(t, 0)
			s.callHook(strings.NewReader(in.stdin), d.name, "prepare", "begin", "-").lets(t)
			entries := s.guardEntries()
			if len(entries) != 1 {
				t.Fatalf("%d journal entries, want 1: %q", len(entries), entries)
			}
			entries[0].want(t, map[string]string{"PRIORITY": "4"})
			if len(entries[0]["HUGEGUARD_DECISION"]) > 0 && entries[0].one(t, "HUGEGUARD_DECISION") == "refuse" {
				t.Errorf("it was judged: %q", entries[0])
			}
			if m := entries[0].one(t, "MESSAGE"); !plain(strings.ReplaceAll(m, "\n", " ")) || len(m) > 4096 || !strings.Contains(m, d.name) {
				t.Errorf("MESSAGE=%q", m)
			}
		})
	}
	// What the above spoiled is refused as it is.
	s := begin(t, 0)
	if r := s.callHook(strings.NewReader(good), d.name, "prepare", "begin", "-"); r.status != 1 {
		t.Errorf("exit status %d, want 1", r.status)
	}
}

// plain reports whether a terminal shows the text and does nothing else.
func plain(text string) bool {
	for _, r := range text {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return false
		}
	}
	return true
}

// A domain may be as large as libvirt lets it be and have in it what it likes.
func TestLargeDomains(t *testing.T) {
	s := begin(t, 0)
	d := domain{name: "large", mib: 64, cells: 1}
	for _, in := range []struct{ name, metadata string }{
		{"10 MB", strings.Repeat("<y>z</y>", 10<<20/8)},
		{"deeply nested", strings.Repeat("<a>", 250) + strings.Repeat("</a>", 250)},
		{"another domain inside", "<domain type='qemu'><memory>1</memory></domain>"},
	} {
		xml := strings.Replace(d.xml(), "<devices>", "<metadata><x xmlns='urn:x'>"+in.metadata+"</x></metadata><devices>", 1)
		r := s.callHook(strings.NewReader(xml), d.name, "prepare", "begin", "-")
		t.Logf("%s: %d KB took %v", in.name, len(xml)>>10, r.took.Round(time.Millisecond))
		if r.status != 1 || !strings.Contains(r.stderr, "32 needed") {
			t.Errorf("%s: exit status %d, stderr %q", in.name, r.status, r.stderr)
		}
	}
}

// Nothing in the environment changes what the hook reads, says or decides. libvirt itself hands on no more
// than PATH, HOME, USER, LOGNAME, TMPDIR, LD_PRELOAD and LD_LIBRARY_PATH (virCommandAddEnvPassCommon).
func TestEnvironmentRedirectsNothing(t *testing.T) {
	s := begin(t, 0)
	s.must(s.build())
	dir := t.TempDir()
	s.must(os.WriteFile(dir+"/hugeguard.conf", []byte("mode = off\n"), 0o644))
	d := domain{name: "bystander", mib: 64, cells: 1}
	want := s.callHook(strings.NewReader(d.xml()), d.name, "prepare", "begin", "-")
	for _, env := range []string{
		"HOME=" + dir, "TMPDIR=" + dir, "PATH=" + dir, "XDG_CONFIG_HOME=" + dir, "HUGEGUARD_CONF=" + dir + "/hugeguard.conf",
		"LD_PRELOAD=" + dir + "/x.so", "LD_LIBRARY_PATH=" + dir, "LD_AUDIT=" + dir + "/x.so", "GLIBC_TUNABLES=glibc.malloc.check=3",
		"JOURNAL_STREAM=8:1", "NOTIFY_SOCKET=" + dir + "/notify", "LISTEN_FDS=3", "TZ=:/etc/shadow", "LANG=de_DE.UTF-8", "LC_ALL=x",
		"GODEBUG=asyncpreemptoff=1,cpu.all=off,madvdontneed=1,execerrdot=0,panicnil=1", "GOTRACEBACK=crash", "GOMAXPROCS=1", "GOMAXPROCS=1000",
		"GOGC=off", "GOGC=1", "GOMEMLIMIT=1", "GOROOT=" + dir, "GOCOVERDIR=" + dir, "GORACE=log_path=" + dir + "/race", "ZONEINFO=" + dir,
		// Of these the Go runtime writes to standard error, which libvirt reads only after a refusal.
		"GODEBUG=inittrace=1", "GODEBUG=gctrace=1",
	} {
		r := s.callProgram(strings.NewReader(d.xml()), "/usr/bin/env", env, s.hook, d.name, "prepare", "begin", "-")
		if r.status != want.status || r.stdout != "" || !strings.HasSuffix(r.stderr, want.stderr) || strings.Contains(r.stderr, "\n") && !strings.Contains(env, "trace=") {
			t.Errorf("%s: exit status %d, stdout %q, stderr %q; want %q", env, r.status, r.stdout, r.stderr, want.stderr)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("%v were written", left)
	}
}

func TestStdinIsClosed(t *testing.T) {
	s := begin(t, 0)
	s.must(s.build())
	s.callProgram(nil, "/bin/sh", "-c", `exec "$0" closed prepare begin - <&-`, s.hook).lets(t)
}

// One that is never finished costs the deadline and not the launch.
func TestStdinNeverEnds(t *testing.T) {
	s := begin(t, 0)
	s.configure("deadline = 2s")
	s.must(s.build())
	r, w, err := os.Pipe()
	s.must(err)
	defer w.Close()
	defer r.Close()
	io.WriteString(w, "<domain>")
	run := s.callHook(r, "endless", "prepare", "begin", "-")
	run.lets(t)
	if run.took < time.Second {
		t.Errorf("it gave up after %v", run.took)
	}
	if entries := s.guardEntries(); len(entries) != 1 || entries[0].one(t, "PRIORITY") != "4" {
		t.Errorf("want one warning in the journal, have %q", entries)
	}
}

// Operations that are none of its business, or none at all: nothing is read, refused or said.
func TestOtherOperations(t *testing.T) {
	s := begin(t, 0)
	xml := domain{name: "bystander", mib: 64, cells: 1}.xml()
	for _, args := range [][]string{
		{"bystander", "start", "begin", "-"},
		{"bystander", "started", "begin", "-"},
		{"bystander", "stopped", "end", "-"},
		{"bystander", "release", "end", "-"},
		{"bystander", "release", "end", "failed"},
		{"bystander", "reconnect", "begin", "-"},
		{"bystander", "attach", "begin", "-"},
		{"bystander", "migrate", "begin", "-"},
		{"bystander", "restore", "begin", "-"},
		{"bystander", "prepare", "end", "-"},
		{"bystander", "PREPARE", "begin", "-"},
		{"bystander", "prepared", "begin", "-"},
		{"bystander", "", "", ""},
		{"", "", "", ""},
		{"bystander", "prepare"},
		{"bystander"},
		{},
	} {
		s.callHook(strings.NewReader(xml), args...).lets(t)
	}
	if entries := s.guardEntries(); len(entries) > 0 {
		t.Errorf("journal entries: %q", entries)
	}
}

// A name can neither forge a journal field nor a line, nor work the terminal of who reads the error.
func TestNamesForgeNothing(t *testing.T) {
	const evil = "evil\nPRIORITY=0\nHUGEGUARD_CAUSE=none\nMESSAGE=all is well\r\x1b[2J\x1b]0;title\x07\x7f\u009b31m\u202eback%s%n%1000000d\x00\xff"
	inXML := strings.NewReplacer("\n", "&#10;", "\r", "&#13;", "\x1b", "&#x1b;", "\x07", "", "\x7f", "\x7f", "\x00", "", "\xff", "").Replace(evil)
	argv := strings.ReplaceAll(evil, "\x00", "")
	d := domain{name: "innocent", mib: 64, cells: 1}
	for _, in := range []struct {
		name, xml string
		refused   bool
	}{
		{"in the arguments alone", d.xml(), true},
		{"in XML too", strings.Replace(d.xml(), ">innocent<", ">"+strings.ReplaceAll(inXML, "&#x1b;", "")+"<", 1), true},
		{"in XML that is no XML for it", strings.Replace(d.xml(), ">innocent<", ">"+inXML+"<", 1), false},
		{"in rubbish", evil, false},
	} {
		t.Run(in.name, func(t *testing.T) {
			s := begin(t, 0)
			r := s.callHook(strings.NewReader(in.xml), argv, "prepare", "begin", "-")
			entries := s.guardEntries()
			if len(entries) != 1 {
				t.Fatalf("%d journal entries, want 1: %q", len(entries), entries)
			}
			e := entries[0]
			if in.refused {
				if r.status != 1 || r.stdout != "" || !plain(r.stderr) {
					t.Errorf("exit status %d, stdout %q, stderr %q", r.status, r.stdout, r.stderr)
				}
				e.want(t, map[string]string{"PRIORITY": "3", "HUGEGUARD_CAUSE": "pool-missing", "HUGEGUARD_DECISION": "refuse"})
				e.one(t, "HUGEGUARD_DOMAIN")
			} else {
				r.lets(t)
				e.want(t, map[string]string{"PRIORITY": "4"})
			}
			if m := e.one(t, "MESSAGE"); strings.Contains(m, "\nPRIORITY") || strings.Contains(m, "\nMESSAGE") || !plain(strings.ReplaceAll(m, "\n", " ")) {
				t.Errorf("MESSAGE=%q", m)
			}
			// Whatever reads the fields writes them to a terminal in the end.
			for field, values := range e {
				if strings.HasPrefix(field, "HUGEGUARD_") && !plain(strings.ReplaceAll(strings.Join(values, " "), "\n", " ")) {
					t.Errorf("%s=%q", field, values)
				}
			}
			if all, err := readJournal("MESSAGE=all is well"); err != nil || len(all) > 0 {
				t.Errorf("forged entries: %q (%v)", all, err)
			}
		})
	}
}

// Names that libvirt itself admits, all the way through it.
func TestNamesThroughLibvirt(t *testing.T) {
	s := begin(t, 0)
	s.installGuard()
	for _, name := range []string{
		"100%s%n%1000000d",
		"-rf",
		"--help",
		"with blanks  and\ttab",
		"quotes'\"`$(id)\\n<&>",
		"csi\u009b31m",
		"bidi\u202egnihton",
		"größe 日本",
		strings.Repeat("long", 50),
	} {
		d := domain{name: name, mib: 64, cells: 1}
		s.define(d)
		before := len(s.guardEntries())
		_, err := run("virsh", "-c", "qemu:///system", "start", "--paused", "--domain", name)
		if err == nil || !strings.Contains(err.Error(), "Hook script execution failed") {
			t.Errorf("%q: %v; want the refusal", name, err)
			continue
		}
		_, line, _ := strings.Cut(err.Error(), "unexpected exit status 1: ")
		if !plain(line) {
			t.Errorf("%q: the refusal is %q", name, line)
		}
		entries := s.guardEntries()[before:]
		if len(entries) != 1 {
			t.Fatalf("%q: %d journal entries, want 1", name, len(entries))
		}
		entries[0].want(t, map[string]string{"HUGEGUARD_UUID": d.uuid(), "HUGEGUARD_CAUSE": "pool-missing"})
		// A backslash is doubled, since one begins what stands for an unprintable character.
		if got := entries[0].one(t, "HUGEGUARD_DOMAIN"); plain(name) && got != strings.ReplaceAll(name, `\`, `\\`) || !plain(got) {
			t.Errorf("%q: HUGEGUARD_DOMAIN=%q", name, got)
		}
	}
}

// A holder's name is somebody else's input too.
func TestHolderNameForgesNothing(t *testing.T) {
	s := begin(t, 64)
	s.installGuard()
	d := domain{name: "squeezed", mib: 64, cells: 1}
	s.define(d)
	h := s.hold("x\n\x1b[2J(y) z", touched, 40)
	line, e := s.refused(d)
	e.want(t, map[string]string{"HUGEGUARD_CAUSE": "other-holder", "HUGEGUARD_HOLDER_PID": itoa(h.pid())})
	if holder := e.one(t, "HUGEGUARD_HOLDER"); !plain(holder) || !plain(line) || !plain(strings.ReplaceAll(e.one(t, "MESSAGE"), "\n", " ")) {
		t.Errorf("HUGEGUARD_HOLDER=%q in\n%q", holder, line)
	}
}

// A hook that is killed at its work leaves nothing that would be in the way of the next.
func TestKilledHookIsNotInTheWay(t *testing.T) {
	s := begin(t, 32)
	s.installGuard()
	d := domain{name: "next", mib: 64, cells: 1}
	s.define(d)
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		cmd := exec.Command(s.hook, d.name, "prepare", "begin", "-")
		read, stdin, err := os.Pipe()
		s.must(err)
		defer stdin.Close() // it waits for more
		cmd.Stdin = read
		s.must(cmd.Start())
		read.Close()
		_, err = stdin.WriteString(d.xml()[:100])
		s.must(err)
		s.must(eventually(func() error {
			left, err := unix.IoctlGetInt(int(stdin.Fd()), unix.TIOCINQ)
			if err == nil && left > 0 {
				err = fmt.Errorf("the hook has %d bytes still to read", left)
			}
			return err
		}))
		s.must(cmd.Process.Signal(sig))
		if err := cmd.Wait(); err == nil {
			t.Errorf("the hook ended by itself before %v", sig)
		}
	}
	s.starts(d)
}

// A journald that has stopped reading holds up neither a refusal nor a start.
func TestJournaldHangs(t *testing.T) {
	s := begin(t, 32)
	s.installGuard()
	d, e := domain{name: "refused", mib: 128, cells: 1}, domain{name: "rubbish", mib: 64, cells: 1}
	s.must(s.journald.cmd.Process.Signal(syscall.SIGSTOP))
	defer s.journald.cmd.Process.Signal(syscall.SIGCONT)
	fillJournalSocket(t)
	r := s.callHook(strings.NewReader(d.xml()), d.name, "prepare", "begin", "-")
	t.Logf("refused in %v", r.took.Round(time.Millisecond))
	if r.status != 1 || !strings.Contains(r.stderr, "64 needed") {
		t.Errorf("exit status %d after %v, stderr %q; want the refusal", r.status, r.took, r.stderr)
	}
	r = s.callHook(strings.NewReader("rubbish"), e.name, "prepare", "begin", "-")
	r.lets(t)
}

// fillJournalSocket writes to journald until its socket takes no more.
func fillJournalSocket(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	err = unix.Connect(fd, &unix.SockaddrUnix{Name: "/run/systemd/journal/socket"})
	for i := 0; err == nil; i++ {
		_, err = unix.Write(fd, fmt.Appendf(nil, "MESSAGE=filler %d\n", i))
	}
	if err != unix.EAGAIN {
		t.Fatal(err)
	}
}

// What it could not read for want of file descriptors it must not take for pages that are not there.
func TestFewFileDescriptors(t *testing.T) {
	s := begin(t, 32)
	s.must(s.build())
	d := domain{name: "poor", mib: 64, cells: 1}
	for n := 7; n <= 16; n++ { // the Go runtime does not come up with fewer
		s.callProgram(strings.NewReader(d.xml()), "/bin/sh", "-c", `ulimit -n $1; exec "$0" poor prepare begin -`, s.hook, itoa(n)).lets(t)
	}
	s.callHook(nil, d.name, "stopped", "end", "-").lets(t)
}

// Under a daemon of a user's own the hook sees the counters and nobody's memory: it refuses all the same,
// and blames nobody.
func TestWithoutPrivilege(t *testing.T) {
	s := begin(t, 64)
	s.must(s.build())
	d := domain{name: "session", mib: 64, cells: 1}
	h := s.hold("packetmover", touched, 40)
	r := s.callProgram(strings.NewReader(d.xml()), "/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
		s.hook, d.name, "prepare", "begin", "-")
	if r.status != 1 || r.stdout != "" || !strings.HasPrefix(r.stderr, "node 0 is short of 2M pages: 24 of 64 free, 32 needed (64 MiB); ") ||
		strings.Contains(r.stderr, "packetmover") {
		t.Errorf("exit status %d, stdout %q, stderr %q", r.status, r.stdout, r.stderr)
	}
	t.Logf("%s", r.stderr)
	entries := s.guardEntries()
	if len(entries) != 1 {
		t.Fatalf("%d journal entries, want 1: %q", len(entries), entries)
	}
	entries[0].want(t, map[string]string{"_UID": "65534", "HUGEGUARD_DECISION": "refuse", "HUGEGUARD_FREE": "24"})
	h.release()
	s.callProgram(strings.NewReader(d.xml()), "/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
		s.hook, d.name, "prepare", "begin", "-").lets(t)
}
