package endtoend

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/mattn/go-runewidth"
	"golang.org/x/sys/unix"
)

// A terminal is a pseudo-terminal on which hugeguard runs in the foreground.
type terminal struct {
	t       *testing.T
	cmd     *exec.Cmd
	screen  *os.File // our end
	tty     *os.File // its end
	ended   chan struct{}
	mu      sync.Mutex
	written bytes.Buffer
}

func onTerminal(t *testing.T, size pty.Winsize, env []string, args ...string) *terminal {
	t.Helper()
	x := &terminal{t: t, cmd: exec.Command("hugeguard", args...), ended: make(chan struct{})}
	x.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "TERM=xterm", "LANG=C.UTF-8"}, env...)
	var err error
	if x.screen, x.tty, err = pty.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.screen.Close(); x.tty.Close() })
	x.resize(size)
	x.cmd.Stdin, x.cmd.Stdout, x.cmd.Stderr = x.tty, x.tty, x.tty
	x.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.cmd.Process.Kill(); <-x.ended })
	go func() {
		for b := make([]byte, 4096); ; {
			n, err := x.screen.Read(b)
			x.mu.Lock()
			x.written.Write(b[:n])
			x.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	go func() {
		x.cmd.Wait()
		close(x.ended)
	}()
	return x
}

func (x *terminal) resize(size pty.Winsize) {
	x.t.Helper()
	if err := pty.Setsize(x.screen, &size); err != nil {
		x.t.Fatal(err)
	}
}

func (x *terminal) seen() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.written.String()
}

// until waits for what the terminal should have been told.
func (x *terminal) until(what string, holds func(seen string) bool) {
	x.t.Helper()
	for end := time.Now().Add(soon); !holds(x.seen()); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			x.t.Fatalf("not seen: %s; but %q", what, x.seen())
		}
	}
}

func (x *terminal) key(key string) {
	x.t.Helper()
	if _, err := x.screen.WriteString(key); err != nil {
		x.t.Fatal(err)
	}
}

// exit waits for the program's end, and for what it wrote.
func (x *terminal) exit(status int) string {
	x.t.Helper()
	select {
	case <-x.ended:
	case <-time.After(soon):
		x.t.Fatalf("it does not end: %q", x.seen())
	}
	if got := x.cmd.ProcessState.ExitCode(); got != status {
		x.t.Errorf("exit status %d, want %d: %q", got, status, x.seen())
	}
	const last = "<the end>" // it comes after what is still under way through the terminal
	if _, err := x.tty.WriteString(last); err != nil {
		x.t.Fatal(err)
	}
	x.until("the end", func(seen string) bool { return strings.HasSuffix(seen, last) })
	return strings.TrimSuffix(x.seen(), last)
}

// What a terminal is told (xterm's control sequences): to show another screen, and what was there before.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	toTop       = "\x1b[H"
	clearBelow  = "\x1b[J"
)

var (
	sgr      = regexp.MustCompile("\x1b\\[[0-9;]*m")
	controls = regexp.MustCompile("\x1b\\[[?0-9;]*[a-zA-Z]")
)

// The screen fits the terminal, however narrow, and is coloured unless somebody minds.
func TestStatusOnATerminal(t *testing.T) {
	for _, c := range []struct {
		columns, rows uint16
		env           []string
		args          []string
		coloured      bool
	}{
		{80, 24, nil, nil, true},
		{200, 50, nil, nil, true},
		{33, 24, nil, nil, true},
		{80, 24, []string{"NO_COLOR="}, nil, true},
		{80, 24, []string{"NO_COLOR=1"}, nil, false},
		{80, 24, []string{"TERM=dumb"}, nil, false},
		{80, 24, []string{"TERM="}, nil, false},
		{80, 24, nil, []string{"--color=never"}, false},
		{80, 24, []string{"NO_COLOR=1", "TERM=dumb"}, []string{"--color=always"}, true},
		{0, 0, nil, nil, true}, // it does not know its size: a serial line
	} {
		x := onTerminal(t, pty.Winsize{Cols: c.columns, Rows: c.rows}, c.env, append([]string{"status", "--root", incident}, c.args...)...)
		text := strings.ReplaceAll(x.exit(exitNotLive), "\r\n", "\n")
		if coloured := sgr.MatchString(text); coloured != c.coloured {
			t.Errorf("%+v: coloured %v: %q", c, coloured, text)
		}
		plain := sgr.ReplaceAllString(text, "")
		if strings.ContainsAny(plain, "\x1b\x07") {
			t.Errorf("%+v: %q", c, plain)
		}
		columns := int(c.columns)
		if columns == 0 {
			columns = 80
		}
		widest := 0
		lines := strings.Split(strings.TrimSuffix(plain, "\n"), "\n")
		for _, l := range lines {
			widest = max(widest, runewidth.StringWidth(l))
		}
		if widest > columns || columns <= 80 && widest < columns-12 || columns >= 80 && len(lines) > 24 {
			t.Errorf("%+v: %d lines of at most %d columns:\n%s", c, len(lines), widest, plain)
		}
		if !strings.Contains(plain, "█") || strings.Contains(plain, "V Open vSwitch") {
			t.Errorf("%+v: a bar of another locale:\n%s", c, plain)
		}
	}
}

func TestStatusWithoutUTF8OnATerminal(t *testing.T) {
	x := onTerminal(t, pty.Winsize{Cols: 80, Rows: 24}, []string{"LANG=C"}, "status", "--root", incident)
	if text := x.exit(exitNotLive); strings.ContainsFunc(text, func(r rune) bool { return r >= 0x80 }) || !strings.Contains(text, "VVVV") {
		t.Errorf("%q", text)
	}
}

// Colour where no terminal is, only if it is asked for.
func TestStatusElsewhere(t *testing.T) {
	for want, args := range map[bool][]string{false: {}, true: {"--color", "always"}} {
		cmd := exec.Command("hugeguard", append([]string{"status", "--root", incident}, args...)...)
		cmd.Env = append(os.Environ(), "TERM=xterm", "NO_COLOR=")
		out, err := cmd.Output()
		if exit := new(exec.ExitError); !errors.As(err, &exit) || sgr.Match(out) != want {
			t.Errorf("%v: %v: %q", args, err, out)
		}
	}
}

// While it watches it has a screen of its own, which follows the terminal's size; at the end all is as before.
func TestWatchOnATerminal(t *testing.T) {
	x := onTerminal(t, pty.Winsize{Cols: 80, Rows: 24}, nil, "status", "--root", incident, "--watch=0.2")
	before, err := unix.IoctlGetTermios(int(x.tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	screens := func(seen string) []string { return strings.Split(seen, toTop)[1:] }
	x.until("three screens", func(seen string) bool { return len(screens(seen)) > 3 })
	if text := x.seen(); !strings.HasPrefix(text, enterScreen) || strings.Contains(text, leaveScreen) {
		t.Errorf("it begins with %q", text)
	}
	for _, s := range screens(x.seen())[:3] {
		lines := strings.Split(s, "\r\n")
		for _, l := range lines {
			if w := runewidth.StringWidth(controls.ReplaceAllString(l, "")); w > 80 {
				t.Errorf("a line of %d columns: %q", w, l)
			}
		}
		if len(lines) > 24 || !strings.Contains(s, "every 200ms, until Ctrl-C: ") || !strings.HasSuffix(s, clearBelow) {
			t.Errorf("%d lines: %q", len(lines), s)
		}
	}

	x.resize(pty.Winsize{Cols: 50, Rows: 6})
	x.until("a smaller screen", func(seen string) bool {
		all := screens(seen)
		s := all[len(all)-1]
		return strings.Count(s, "\r\n") == 5 && strings.HasSuffix(s, " more lines")
	})

	x.key("\x1a") // Ctrl-Z
	x.until("the other screen", func(seen string) bool { return strings.HasSuffix(seen, leaveScreen) })
	until(t, "it stops after Ctrl-Z", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", x.cmd.Process.Pid))
		return err != nil || bytes.Contains(stat, []byte(") T "))
	})
	n := len(screens(x.seen()))
	x.cmd.Process.Signal(syscall.SIGCONT)
	x.until("a screen after the pause", func(seen string) bool { return len(screens(seen)) > n+1 })

	x.key("\x03") // Ctrl-C
	text := x.exit(exitNotLive)
	if !strings.HasSuffix(text, leaveScreen) || strings.Count(text, enterScreen) != 2 || strings.Count(text, leaveScreen) != 2 {
		t.Errorf("it ends with %q", text[max(0, len(text)-200):])
	}
	after, err := unix.IoctlGetTermios(int(x.tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	if *before != *after {
		t.Errorf("the terminal was %+v and is %+v", before, after)
	}
}

// Paper, or a file, gets one screen after the other.
func TestWatchElsewhere(t *testing.T) {
	x := onTerminal(t, pty.Winsize{Cols: 80, Rows: 24}, []string{"TERM=dumb"}, "status", "--root", incident, "--watch=0.1")
	x.until("two screens", func(seen string) bool { return strings.Count(seen, "hook: NOT LIVE") > 2 })
	x.key("\x03")
	if text := x.exit(exitNotLive); strings.Contains(text, "\x1b") || !strings.Contains(text, "free\r\n\r\nhook: NOT LIVE\r\n") {
		t.Errorf("%q", text)
	}

	for _, c := range []struct {
		args    []string
		between string
	}{
		{nil, "free\n\nhook: NOT LIVE\n"},
		{[]string{"--json"}, "}\n{\"schema\":1,\"hook\":"},
	} {
		cmd := exec.Command("hugeguard", append([]string{"status", "--root", incident, "--watch=0.1"}, c.args...)...)
		cmd.Env = append(os.Environ(), "TERM=xterm")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		for b := make([]byte, 4096); strings.Count(text.String(), c.between) < 2; {
			n, err := out.Read(b)
			if text.Write(b[:n]); err != nil {
				t.Fatalf("%v: %q", err, &text)
			}
		}
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if got := cmd.ProcessState.ExitCode(); got != exitNotLive || strings.Contains(text.String(), "\x1b") {
			t.Errorf("exit status %d: %q", got, &text)
		}
	}
}
