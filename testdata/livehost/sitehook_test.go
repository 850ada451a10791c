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
	dropIn   = hookDir + "/zz-hugeguard"
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

// A site's own hook works as before, wherever the guard lies: the same calls, arguments and input, its
// refusals and its filtering in force; and it is all as before when the guard is gone.
func TestSiteHookStays(t *testing.T) {
	var before []string // the calls without the guard
	for _, layout := range []struct{ name, site string }{
		{"none", mainHook},
		{"drop-in", filepath.Join(hookDir, "10-site")},
		{"drop-in", mainHook},
		{"chain", mainHook},
	} {
		t.Run(layout.name+" "+filepath.Base(layout.site), func(t *testing.T) {
			s := begin(t, 64)
			t.Cleanup(func() { os.RemoveAll(hookDir); os.Remove(mainHook) })
			site := s.newSiteHook(layout.site)
			// The peer is always called by libvirt itself, so it knows what libvirt says.
			peer := s.newSiteHook(filepath.Join(hookDir, "99-peer"))
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
				if layout.name == "chain" {
					// It would run after the guard, which refuses nothing then.
					s.must(os.Remove(filepath.Join(hookDir, "99-peer")))
					delete(tree, filepath.Join(hookDir, "99-peer"))
				}
				s.setPool(16)
				s.refused(d)
				// libvirt ends what it began, no matter who refused.
				if got := strings.Join(ops(site.calls()), " "); !strings.HasSuffix(got, "stopped release") {
					t.Errorf("around the guard's refusal the site's hook was called for %q", got)
				}
				s.setPool(64)
				s.uninstallGuard()
			}
			s.sameTree("/etc/libvirt", tree)
		})
	}
}

// A pageHook is a hook, or one that runs scripts, that makes pages at prepare and gives them back at release, as sites
// have it that keep no pages for guests which do not run.
type pageHook struct {
	file    string // of libvirt's
	scripts string // a directory of the scripts that it runs; "" for none
}

// make writes the hook, which makes as many pages as told.
func (s *scene) makePages(h pageHook) (tell func(pages int)) {
	s.t.Helper()
	amount := s.path("pages to make")
	tell = func(pages int) { s.must(os.WriteFile(amount, []byte(itoa(pages)), 0o644)) }
	write := func(file, text string) {
		s.must(os.MkdirAll(filepath.Dir(file), 0o755))
		s.must(os.WriteFile(file, []byte("#!/bin/sh\n"+text), 0o755))
	}
	const nr = poolDir + "/nr_hugepages"
	makes, givesBack := "cat '"+amount+"' >"+nr+"\n", "echo 0 >"+nr+"\n"
	if h.scripts == "" {
		write(h.file, "case $2 in\nprepare) "+makes+";;\nrelease) "+givesBack+";;\nesac\n")
		return tell
	}
	// As of https://github.com/PassthroughPOST/VFIO-Tools: qemu.d/DOMAIN/OPERATION/SUBOPERATION/*.
	write(h.file, `for script in "`+h.scripts+`/$1/$2/$3/"*; do
	[ ! -x "$script" ] || "$script" "$@" || exit
done
`)
	write(filepath.Join(h.scripts, "of a hook's pages", "prepare/begin/alloc.sh"), makes)
	write(filepath.Join(h.scripts, "of a hook's pages", "release/end/free.sh"), givesBack)
	return tell
}

// Where a site's hook makes the pages at prepare the guest starts, and is refused where it makes too few; at release they
// are given back. So it is wherever that hook is, and the guard finds its place by itself.
func TestSiteHookMakesPages(t *testing.T) {
	for name, c := range map[string]struct {
		hook   pageHook
		layout []string
		calls  string // where the guard is to be
	}{
		"qemu.d":                {pageHook{file: hookDir + "/hugepages.sh"}, nil, dropIn},
		"qemu":                  {pageHook{file: mainHook}, nil, dropIn},
		"a dispatcher":          {pageHook{file: mainHook, scripts: hookDir}, nil, dropIn},
		"qemu, chained":         {pageHook{file: mainHook}, []string{"--layout", "chain"}, mainHook},
		"a dispatcher, chained": {pageHook{file: mainHook, scripts: hookDir}, []string{"--layout", "chain"}, mainHook},
	} {
		t.Run(name, func(t *testing.T) {
			s := begin(t, 0)
			t.Cleanup(func() { os.RemoveAll(hookDir); os.Remove(mainHook) })
			tell := s.makePages(c.hook)
			tree := s.tree("/etc/libvirt")
			s.installGuard(c.layout...)
			if _, err := os.Stat(c.calls); err != nil {
				t.Fatal(err)
			}
			d := domain{name: "of a hook's pages", mib: 64, cells: 1}
			s.define(d)
			for range 2 {
				tell(32)
				s.starts(d)
				if p := s.pool(); p.total != 32 || p.free != 0 {
					t.Errorf("the guest runs with the pool at %+v", p)
				}
				s.virsh("destroy", d.name)
				s.check(s.noTraces())

				tell(20)
				before := len(s.guardEntries())
				s.launches(d)
				_, _, err := s.start(d)
				const want = "unexpected exit status 1: node 0 has too few 2M pages: 20 of 20 free, 32 needed (64 MiB); the pool has only 20 pages (40 MiB) in all"
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("start: %v; want %q", err, want)
				}
				if n := s.launches(d); n != 0 {
					t.Errorf("QEMU was run %d times", n)
				}
				entries := s.guardEntries()[before:]
				if len(entries) != 1 {
					t.Fatalf("%d journal entries: %q", len(entries), entries)
				}
				entries[0].want(t, map[string]string{"PRIORITY": "3", "HUGEGUARD_DECISION": "refuse", "HUGEGUARD_FREE": "20", "HUGEGUARD_NEEDED": "32"})
				s.check(s.noTraces())
			}
			// What a hook will make nobody can know beforehand.
			if r := s.askGuard(d); r.Decision != "warn" || !strings.Contains(r.Summary, "another hook may add the pages before hugeguard judges: /etc/libvirt/hooks/qemu") {
				t.Errorf("check says %s: %s", r.Decision, r.Summary)
			}
			s.verify(0)
			s.uninstallGuard()
			s.sameTree("/etc/libvirt", tree)
		})
	}
}

// A hook that runs after the guard may still make the pages: until install is run again, which moves the guard behind it,
// a shortage is a warning. So it is after a hook that came later, in the place of an older version, and where a name
// sorts after ours.
func TestHookAfterTheGuard(t *testing.T) {
	for name, c := range map[string]struct {
		hook   string
		layout []string
		older  bool
	}{
		"later":         {hookDir + "/hugepages.sh", []string{"--layout", "main"}, false},
		"older version": {hookDir + "/hugepages.sh", []string{"--layout", "drop-in"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := begin(t, 0)
			t.Cleanup(func() { os.RemoveAll(hookDir); os.Remove(mainHook) })
			tell := s.makePages(pageHook{file: c.hook})
			tree := s.tree("/etc/libvirt")
			s.installGuard(c.layout...)
			if c.older {
				s.must(os.Rename(dropIn, hookDir+"/50-hugeguard"))
			}
			d := domain{name: "of a later hook", mib: 64, cells: 1}
			s.define(d)
			warned := func() {
				entries := s.guardEntries()
				e := entries[len(entries)-1]
				e.want(t, map[string]string{"PRIORITY": "4", "HUGEGUARD_DECISION": "warn", "HUGEGUARD_NODE": "0", "HUGEGUARD_NEEDED": "32"})
				s.says(e.one(t, "MESSAGE"), "32 needed (64 MiB); allowed: another hook runs after hugeguard's and may still add pages ("+c.hook+"); to make hugeguard the last, run: hugeguard install\n")
			}
			tell(32)
			s.launches(d)
			_, _, err := s.start(d)
			s.must(err)
			warned()
			if r := s.askGuard(d); r.Decision != "warn" {
				t.Errorf("while it runs check says %s: %s", r.Decision, r.Summary)
			}
			s.virsh("destroy", d.name)
			s.check(s.noTraces())
			tell(20)
			if _, _, err := s.start(d); !s.died(d, err, qemuNoPages) {
				t.Errorf("with too few pages: %v; want QEMU's %q", err, qemuNoPages)
			}
			warned()
			if r := s.status(0); len(r.Hook.Why) == 0 || !strings.Contains(strings.Join(r.Hook.Why, "\n"), "libvirt runs other hooks after it ("+c.hook+")") {
				t.Errorf("status says %q", r.Hook.Why)
			}
			s.says(s.verify(0), "which it refused\n", "libvirt runs other hooks after it ("+c.hook+"), which may still add pages, so it only warns of a shortage: hugeguard install\n")
			s.says(s.command(s.cli, 0, "metrics", "--hook", s.hook), "\nhugeguard_hook_others_after 1\n")

			s.installGuard()
			s.launches(d)
			if _, _, err := s.start(d); err == nil || !strings.Contains(err.Error(), "node 0 has too few 2M pages: 20 of 20 free, 32 needed") {
				t.Errorf("after another install: %v; want the refusal", err)
			}
			if n := s.launches(d); n != 0 {
				t.Errorf("QEMU was run %d times", n)
			}
			tell(32)
			s.starts(d)
			s.virsh("destroy", d.name)
			s.says(s.command(s.cli, 0, "metrics", "--hook", s.hook), "\nhugeguard_hook_others_after 0\n")
			s.uninstallGuard()
			s.sameTree("/etc/libvirt", tree)
		})
	}
}

// A hook that somebody wrote over the guard is seen by all who look, and the next install goes behind it.
func TestHookWrittenOverTheGuard(t *testing.T) {
	s := begin(t, 16)
	t.Cleanup(func() { os.RemoveAll(hookDir); os.Remove(mainHook) })
	s.installGuard()
	d := domain{name: "unguarded", mib: 64, cells: 1}
	s.define(d)
	s.refused(d)
	site := s.newSiteHook(mainHook)
	s.failsInQEMU(d)
	const why = "another program is at " + mainHook + ", in place of the hook (layout main): hugeguard install"
	if r := s.status(4); r.Hook.Live || len(r.Hook.Why) != 1 || r.Hook.Why[0] != why {
		t.Errorf("status says %+v", r.Hook)
	}
	s.says(s.command(s.cli, 0, "metrics", "--hook", s.hook), "\nhugeguard_hook_live 0\n")
	s.says(s.verify(4), "hook: NOT LIVE", why)
	site.calls()

	s.installGuard()
	s.refused(d)
	if got := strings.Join(ops(site.calls()), " "); got != "prepare stopped release" {
		t.Errorf("the site's hook was called for %q", got)
	}
	s.must(os.Chmod(mainHook, 0o777))
	s.must(os.Chmod(hookDir, 0o775))
	if r := s.status(0); len(r.Hook.Why) != 2 || !strings.HasPrefix(r.Hook.Why[0], "root runs "+hookDir+", but others can change it") ||
		!strings.HasPrefix(r.Hook.Why[1], "root runs "+mainHook+", but others can change it") {
		t.Errorf("status says %q", r.Hook.Why)
	}
}

// What is mounted over the place of QEMU's files makes ordinary memory of a guest's huge pages: it starts with however few,
// and the guard says so.
func TestMountOverHugePages(t *testing.T) {
	s := begin(t, 16)
	s.installGuard()
	d := domain{name: "on ordinary memory", mib: 64, cells: 1}
	s.define(d)
	const over = hugetlbfs + "/libvirt/qemu"
	s.must(os.MkdirAll(over, 0o755))
	s.must(syscall.Mount("none", over, "tmpfs", 0, "size=128m"))
	mounted := true
	unmount := func() {
		if mounted {
			s.check(syscall.Unmount(over, 0))
			mounted = false
		}
	}
	t.Cleanup(func() { virsh("destroy", d.name); unmount() })
	_, _, err := s.start(d)
	s.must(err)
	if n := hugePagesOf(s.qemuPID(d)); n != 0 {
		t.Errorf("it has %d huge pages", n)
	}
	const want = "tmpfs is mounted over 2M pages at " + over + ": until it is unmounted, ram-node0 will lie on it, in ordinary memory"
	entries := s.guardEntries()
	if len(entries) != 1 {
		t.Fatalf("%d journal entries: %q", len(entries), entries)
	}
	entries[0].want(t, map[string]string{"PRIORITY": "4", "HUGEGUARD_DECISION": "warn"})
	s.says(entries[0].one(t, "MESSAGE"), want)
	s.virsh("destroy", d.name)
	if r := s.askGuard(d); r.Decision != "warn" || r.Summary != want {
		t.Errorf("check says %s: %s", r.Decision, r.Summary)
	}
	unmount()
	s.refused(d)
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
