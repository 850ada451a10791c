package livehost

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strings"
	"syscall"
	"testing"
)

const (
	mainHook = "/etc/libvirt/hooks/qemu"
	hookDir  = "/etc/libvirt/hooks/qemu.d"
)

// siteHook is a qemu hook as a site has its own: it records each call, and can be told to fail or to
// filter.
type siteHook struct {
	dir string // its records
}

// newSiteHook writes a hook to the file.
func (s *scene) newSiteHook(file string) siteHook {
	s.t.Helper()
	h := siteHook{s.path("site-" + filepath.Base(file))}
	s.must(os.RemoveAll(h.dir))
	s.must(os.MkdirAll(h.dir, 0o755))
	s.must(os.MkdirAll(filepath.Dir(file), 0o755))
	s.must(os.WriteFile(file, []byte(`#!/bin/sh
# A site's own hook.
call=`+h.dir+`/$(date +%s%N)
for arg; do printf '%s\0' "$arg"; done >$call.argv
cat >$call.stdin
while [ -e "`+h.dir+`/hold-$2-$1" ]; do sleep 0.02; done
if [ -e `+h.dir+`/fail-$2 ]; then
	echo 'the site says no' >&2
	exit 1
fi
if [ -e `+h.dir+`/filter-$2 ]; then
	sed 's|</uuid>|</uuid><description>by the site</description>|' <$call.stdin
fi
`), 0o755))
	return h
}

// tell makes the hook "fail" or "filter" when it is called for the operation.
func (h siteHook) tell(what, op string) error {
	return os.WriteFile(filepath.Join(h.dir, what+"-"+op), nil, 0o644)
}

// holdAt makes the hook wait when it is called for the operation of the domain, until it is let go.
func (s *scene) holdAt(h siteHook, op string, d domain) (letGo func()) {
	s.t.Helper()
	name := filepath.Join(h.dir, "hold-"+op+"-"+d.name)
	s.must(os.WriteFile(name, nil, 0o644))
	letGo = func() { os.Remove(name) }
	s.t.Cleanup(letGo)
	return letGo
}

// waitForCall returns when the hook has been called for the operation of the domain.
func (s *scene) waitForCall(h siteHook, op string, d domain) {
	s.t.Helper()
	s.must(eventually(func() error {
		names, _ := filepath.Glob(filepath.Join(h.dir, "*.stdin"))
		for _, name := range names {
			argv, _ := os.ReadFile(strings.TrimSuffix(name, ".stdin") + ".argv")
			if strings.HasPrefix(string(argv), d.name+"\x00"+op+"\x00") {
				return nil
			}
		}
		return fmt.Errorf("no %s of %s among %d calls", op, d.name, len(names))
	}))
}

type hookCall struct {
	argv  string // each argument ended by NUL
	stdin []byte
}

func (c hookCall) op() string { return strings.Split(c.argv, "\x00")[1] }

// calls are the hook's calls since it was last asked, in order.
func (h siteHook) calls() (calls []hookCall) {
	names, _ := filepath.Glob(filepath.Join(h.dir, "*.argv"))
	sort.Strings(names)
	for _, name := range names {
		argv, _ := os.ReadFile(name)
		stdin, _ := os.ReadFile(strings.TrimSuffix(name, ".argv") + ".stdin")
		calls = append(calls, hookCall{string(argv), stdin})
		os.Remove(name)
	}
	return calls
}

func ops(calls []hookCall) (ops []string) {
	for _, c := range calls {
		ops = append(ops, c.op())
	}
	return ops
}

func argvs(calls []hookCall) (argvs []string) {
	for _, c := range calls {
		argvs = append(argvs, c.argv)
	}
	return argvs
}

// A site's own hook goes on as before, wherever the guard lies: the same calls, arguments and input, its
// refusals and its filtering in force; and it is all as before when the guard is gone.
func TestSiteHookGoesOn(t *testing.T) {
	var before []string // the calls without the guard
	for _, layout := range []struct{ name, site string }{
		{"none", mainHook},
		{"main", filepath.Join(hookDir, "10-site")},
		{"drop-in", mainHook},
		{"chain", mainHook},
	} {
		t.Run(layout.name, func(t *testing.T) {
			s := begin(t, 64)
			t.Cleanup(func() { os.RemoveAll(hookDir); os.Remove(mainHook) })
			site := s.newSiteHook(layout.site)
			// The peer is always called by libvirt itself, so it knows what libvirt says.
			peerFile := filepath.Join(hookDir, "99-peer")
			peer := s.newSiteHook(peerFile)
			tree := s.tree("/etc/libvirt")
			s.must(s.libvirtd.cmd.Process.Signal(syscall.SIGHUP))
			if layout.name != "none" {
				s.installGuard("--layout", layout.name)
			}
			d := domain{name: "guest of the site's", mib: 64, cells: 1}
			s.define(d)
			s.must(site.tell("filter", "restore"))

			s.starts(d)
			s.virsh("managedsave", d.name)
			s.virsh("start", "--paused", d.name)
			if got := strings.TrimSpace(s.virsh("desc", d.name)); got != "by the site" {
				t.Errorf("after a restore that the site's hook filtered the description is %q", got)
			}
			s.virsh("destroy", d.name)

			calls, peers := site.calls(), peer.calls()
			if layout.name == "none" {
				before = argvs(calls)
				t.Logf("%d calls: %q", len(calls), ops(calls))
			}
			if got := argvs(calls); len(got) == 0 || !reflect.DeepEqual(got, before) {
				t.Errorf("the site's hook was called with\n%q, before the guard with\n%q", got, before)
			}
			if len(calls) != len(peers) {
				t.Fatalf("the site's hook saw %q, its peer %q", ops(calls), ops(peers))
			}
			for i, call := range calls {
				want := peers[i].stdin
				if call.op() == "restore" {
					// Here what one hook prints is the next one's input.
					want = bytes.Replace(want, []byte("<description>by the site</description>"), nil, 1)
				}
				if !bytes.Equal(call.stdin, want) || len(want) == 0 {
					t.Errorf("%s: the site's hook read %d bytes, libvirt wrote %d", call.op(), len(call.stdin), len(want))
				}
			}

			s.must(site.tell("fail", "prepare"))
			s.launches(d)
			if _, _, err := s.start(d); err == nil || !strings.Contains(err.Error(), "the site says no") {
				t.Errorf("start: %v; want the refusal of the site's hook", err)
			}
			if n := s.launches(d); n != 0 {
				t.Errorf("QEMU was run %d times for what the site's hook refused", n)
			}
			s.check(s.noTraces())
			os.Remove(filepath.Join(site.dir, "fail-prepare"))
			site.calls()

			if layout.name != "none" {
				s.setPool(16)
				if layout.name == "drop-in" {
					s.refused(d)
				} else {
					s.leftToLater(d, peerFile)
				}
				// libvirt ends what it began, whoever failed.
				if got := strings.Join(ops(site.calls()), " "); !strings.HasSuffix(got, "stopped release") {
					t.Errorf("around the failure the site's hook was called for %q", got)
				}
				s.setPool(64)
				s.uninstallGuard()
			}
			s.sameTree("/etc/libvirt", tree)
		})
	}
}

// leftToLater starts a domain that lacks pages while another hook runs after the guard's, which may still make some: the
// guard warns, and names that hook.
func (s *scene) leftToLater(d domain, later string) {
	s.t.Helper()
	before := len(s.guardEntries())
	if _, _, err := s.start(d); !s.died(d, err, qemuNoPages) {
		s.t.Errorf("start: %v; want QEMU's %q", err, qemuNoPages)
	}
	entries := s.guardEntries()[before:]
	if len(entries) != 1 {
		s.t.Fatalf("%d journal entries, want 1: %q", len(entries), entries)
	}
	entries[0].want(s.t, map[string]string{"HUGEGUARD_DECISION": "warn", "PRIORITY": "4"})
	s.says(entries[0].one(s.t, "MESSAGE"), "another hook runs after it and may still make pages (", later)
}

// Where a site had no hook at all there is none afterwards.
func TestUninstallLeavesNothing(t *testing.T) {
	for _, layout := range []string{"main", "drop-in"} {
		t.Run(layout, func(t *testing.T) {
			s := begin(t, 16)
			for _, hooks := range []bool{true, false} {
				if !hooks {
					s.must(os.Remove("/etc/libvirt/hooks"))
					t.Cleanup(func() { os.Mkdir("/etc/libvirt/hooks", 0o755) })
				}
				etc, lib := s.tree("/etc/libvirt"), s.tree("/var/lib")
				s.installGuard("--layout", layout)
				d := domain{name: "refused by " + layout, mib: 64, cells: 1}
				s.define(d)
				s.refused(d)
				s.uninstallGuard()
				s.sameTree("/etc/libvirt", etc)
				s.sameTree("/var/lib", lib)
			}
		})
	}
}

// tree describes every file below dir but those of domains.
func (s *scene) tree(dir string) map[string]string {
	s.t.Helper()
	tree := map[string]string{}
	s.must(filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name == "/etc/libvirt/qemu" || name == "/var/lib/libvirt" {
			return filepath.SkipDir
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		owner := info.Sys().(*syscall.Stat_t)
		text := fmt.Sprintf("%v %d:%d", info.Mode(), owner.Uid, owner.Gid)
		switch {
		case e.Type() == fs.ModeSymlink:
			target, err := os.Readlink(name)
			if err != nil {
				return err
			}
			text += " -> " + target
		case e.Type().IsRegular():
			b, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" %v %x", info.ModTime(), sha256.Sum256(b))
		}
		tree[name] = text
		return nil
	}))
	return tree
}

func (s *scene) sameTree(dir string, want map[string]string) {
	s.t.Helper()
	got := s.tree(dir)
	for name := range want {
		if got[name] != want[name] {
			s.t.Errorf("%s is %q, was %q", name, got[name], want[name])
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			s.t.Errorf("%s is new", name)
		}
	}
}
