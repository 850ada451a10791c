package livehost

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// While guests start the guard moves from one layout to the other and back: at each start the site's hook is called once,
// and the guard, wherever both lie by then. The guest is one that cannot start, so that a start without the guard is seen
// by the QEMU that is run.
func TestMovesWhileGuestsStart(t *testing.T) {
	s := begin(t, 16)
	t.Cleanup(func() { os.RemoveAll(hookDir); os.Remove(mainHook) })
	site := s.newSiteHook(mainHook)
	tree := s.tree("/etc/libvirt")
	s.installGuard("--layout", "drop-in")
	d := domain{name: "too large", mib: 64, cells: 1}
	s.define(d)
	s.refused(d)
	site.calls()
	before, err := os.ReadFile(s.hooksLog)
	s.must(err)

	stop := make(chan struct{})
	ended := make(chan []error)
	go func() {
		var each []error
		for {
			select {
			case <-stop:
				ended <- each
				return
			default:
				_, _, err := s.start(d)
				each = append(each, err)
			}
		}
	}()
	const moves = 20
	var failed error
	for range moves / 2 {
		for _, layout := range []string{"chain", "drop-in"} {
			if failed == nil {
				failed = s.tells("install", "--hook", s.hook, "--layout", layout)
			}
		}
	}
	close(stop)
	starts := <-ended
	s.must(failed)

	if n := s.launches(d); n != 0 {
		t.Errorf("QEMU was run %d times in %d starts", n, len(starts))
	}
	refused := 0
	for _, err := range starts {
		switch {
		case err == nil:
			t.Error("a start succeeded")
		case strings.Contains(err.Error(), "16 free, 32 needed (64 MiB)"):
			refused++
		case !strings.Contains(err.Error(), "No such file or directory"): // libvirt has listed a hook that was then taken away
			t.Errorf("a start ended with %q", err)
		}
	}
	if refused == 0 {
		t.Errorf("none of %d starts was refused", len(starts))
	}
	called := slices.DeleteFunc(site.calls(), func(call hookCall) bool { return call.op() != "prepare" })
	// The shell that was started for the site's hook may have found the guard there when it came to read it.
	log, err := os.ReadFile(s.hooksLog)
	s.must(err)
	misread := 0
	for line := range strings.Lines(string(log[len(before):])) {
		if strings.Contains(line, "Hook script execution failed: ") && strings.Contains(line, mainHook+" '"+d.name+"' prepare begin -) unexpected exit status 2") {
			misread++
		}
	}
	if len(called)+misread != len(starts) {
		t.Errorf("in %d starts the site's hook was called %d times, and misread %d times", len(starts), len(called), misread)
	}
	t.Logf("%d moves, %d starts, %d refused, %d misread", moves, len(starts), refused, misread)
	s.check(s.noTraces())
	s.uninstallGuard()
	s.sameTree("/etc/libvirt", tree)
}
