package endtoend

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"hugeguard/install/capture"
)

// started runs the command with a directory of its own for what is temporary.
func started(t *testing.T, stdin io.Reader, stdout io.Writer, args ...string) (cmd *exec.Cmd, temporary string, stderr *strings.Builder) {
	t.Helper()
	temporary = t.TempDir()
	cmd = exec.Command("hugeguard", args...)
	stderr = &strings.Builder{}
	cmd.Env = append(os.Environ(), "TMPDIR="+temporary)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return cmd, temporary, stderr
}

// soon is a guard against waiting for ever: nothing that a test waits for takes so long.
const soon = 5 * time.Minute

// until waits until something holds.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(soon); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never comes: " + what)
		}
	}
}

// ends interrupts the command, which has to end, with a status, and without anything left of it.
func ends(t *testing.T, cmd *exec.Cmd, by syscall.Signal, temporary string) (status int) {
	t.Helper()
	if err := cmd.Process.Signal(by); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	late := time.AfterFunc(soon, func() { cmd.Process.Kill() })
	defer late.Stop()
	cmd.Wait()
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left is %v, %v", left, err)
	}
	return cmd.ProcessState.ExitCode()
}

// changes returns a function that says how often something has happened to the files in dir since, and whether one was
// closed that was written.
func changes(t *testing.T, dir string) func() (n int, whole bool) {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_CREATE|unix.IN_MODIFY|unix.IN_CLOSE_WRITE); err != nil {
		t.Fatal(err)
	}
	n, whole := 0, false
	return func() (int, bool) {
		events := make([]byte, 4096)
		for got, _ := unix.Read(fd, events); got > 0; {
			e := (*unix.InotifyEvent)(unsafe.Pointer(&events[0]))
			n, whole = n+1, whole || e.Mask&unix.IN_CLOSE_WRITE != 0
			size := unix.SizeofInotifyEvent + int(e.Len)
			events, got = events[size:], got-size
		}
		return n, whole
	}
}

// An interrupt while a capture is unpacked, while it is read or while something else is waited for leaves nothing of
// it, and no part of another.
func TestInterruptedCaptures(t *testing.T) {
	archive := filepath.Join(t.TempDir(), "host.tar")
	program(t, "capture", "--root", incident, archive)
	t.Run("unpacking", func(t *testing.T) {
		large := filepath.Join(t.TempDir(), "large.tar")
		file, err := os.Create(large)
		if err != nil {
			t.Fatal(err)
		}
		const size = 250 << 20 // of a hole
		err = tar.NewWriter(file).WriteHeader(&tar.Header{Name: "x", Typeflag: tar.TypeReg, Size: size})
		if err := errors.Join(err, file.Truncate(size+3*512), file.Close()); err != nil {
			t.Fatal(err)
		}
		cmd, temporary, stderr := started(t, nil, nil, "check", "--root", large, "x")
		until(t, "something is unpacked", func() bool {
			entries, err := os.ReadDir(temporary)
			return err != nil || len(entries) > 0
		})
		if status := ends(t, cmd, syscall.SIGINT, temporary); status != exitError || stderr.String() != "hugeguard: interrupted\n" {
			t.Errorf("exit status %d: %s", status, stderr)
		}
	})
	t.Run("waiting", func(t *testing.T) {
		for _, by := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
			never, ours, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer never.Close()
			defer ours.Close()
			cmd, temporary, stderr := started(t, never, nil, "check", "--root", archive, "-")
			if _, err := ours.WriteString("<domain"); err != nil {
				t.Fatal(err)
			}
			until(t, "it reads the domain", func() bool {
				left, err := unix.IoctlGetInt(int(never.Fd()), unix.TIOCINQ)
				return err != nil || left == 0
			})
			if status := ends(t, cmd, by, temporary); status != exitError || stderr.String() != "hugeguard: interrupted\n" {
				t.Errorf("exit status %d: %s", status, stderr)
			}
		}
	})
	t.Run("watching", func(t *testing.T) {
		for range 10 {
			screen, tty, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer screen.Close()
			defer tty.Close()
			cmd, temporary, stderr := started(t, nil, tty, "status", "--root", archive, "--watch=0.1")
			if _, err := screen.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			if status := ends(t, cmd, syscall.SIGINT, temporary); status != exitNotLive || stderr.Len() > 0 {
				t.Errorf("exit status %d: %s", status, stderr)
			}
		}
	})
	t.Run("capturing", func(t *testing.T) {
		for i := range 40 {
			out := filepath.Join(t.TempDir(), "out.tar")
			args := []string{"capture", "--root", archive, out}
			if i%2 == 1 {
				args = append(args, "--force")
			}
			changed := changes(t, filepath.Dir(out))
			cmd, temporary, stderr := started(t, nil, nil, args...)
			switch point := i / 2; point {
			case 0: // at once
			case 1:
				until(t, "something is unpacked", func() bool {
					entries, err := os.ReadDir(temporary)
					return err != nil || len(entries) > 0
				})
			default: // ever later while the file is written
				until(t, "the file is written", func() bool {
					n, whole := changed()
					return n >= point-1 || whole
				})
			}
			status := ends(t, cmd, syscall.SIGTERM, temporary)
			if left, err := os.ReadDir(filepath.Dir(out)); err != nil || len(left) > 1 || len(left) == 1 && status != exitOK {
				t.Errorf("exit status %d, left is %v, %v: %s", status, left, err, stderr)
			} else if len(left) == 1 {
				dir, err := capture.Unpack(t.Context(), out)
				if err != nil {
					t.Error(err)
				}
				os.RemoveAll(dir)
			}
		}
	})
}
