package place

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hugeguard/install/confine"
	"hugeguard/install/installtest"
)

const (
	initContext = "system_u:system_r:init_t:s0"
	daemonType  = "system_u:object_r:virtd_exec_t:s0"
	libvirtd    = "system_u:system_r:virtd_t:s0"
	etcType     = "system_u:object_r:virt_etc_rw_t:s0"
	ownType     = "system_u:object_r:hugeguard_exec_t:s0"
	ownContext  = "system_u:system_r:hugeguard_t:s0"
)

// What the policy allows libvirtd.
var (
	listsFolder = map[string]uint32{libvirtd + " " + etcType + " 7": 0xf}
	runsOwn     = map[string]uint32{libvirtd + " " + ownType + " 6": 0xf, libvirtd + " " + ownContext + " 2": 1, ownContext + " " + ownType + " 6": 0x6c}
	runsAny     = map[string]uint32{libvirtd + " " + etcType + " 6": 0x5f}
)

func rules(sets ...map[string]uint32) map[string]uint32 {
	all := map[string]uint32{}
	for _, set := range sets {
		for key, allowed := range set {
			all[key] = allowed
		}
	}
	return all
}

// selinuxSite is a site with an enforcing SELinux and a libvirtd that does not run.
func selinuxSite(t *testing.T, files map[string]string, allowed map[string]uint32) (tree, *installtest.Policy) {
	t.Helper()
	all := map[string]string{"/usr/sbin/libvirtd": "", "/usr/lib64/libvirt.so.0.9000.0": "", "/proc/1/attr/current": initContext + "\x00", "/etc/libvirt/hooks/README": ""}
	for name, text := range files {
		all[name] = text
	}
	tr := makeSite(t, all)
	installtest.WriteSELinux(t, tr.root, "1")
	boot := filepath.Join(tr.root, "proc/sys/kernel/random/boot_id")
	installtest.Write(t, boot, "6f1ed002-ab5e-49d5-9d1c-1d1b3e1c2a11\n")
	installtest.Write(t, filepath.Join(tr.root, "proc/uptime"), "100.00 100.00\n")
	p := &installtest.Policy{
		Rules: allowed,
		Known: []string{initContext, libvirtd, daemonType, etcType, ownType, ownContext},
		Moves: map[string]string{initContext + " " + daemonType: libvirtd, libvirtd + " " + ownType: ownContext},
		Labels: map[string]string{
			tr.root + "/usr/sbin/libvirtd": daemonType,
			tr.root + mainHook:             etcType,
			tr.root + dropInDir:            etcType,
			tr.root + dropInHook:           ownType,
		},
	}
	tr.kernel = p
	return tr, p
}

// A hook that libvirt may not execute would fail every start: it is not placed, and nothing is changed.
func TestDeniedIsNotPlaced(t *testing.T) {
	for _, site := range []map[string]string{nil, {"/etc/libvirt/hooks/qemu": siteText}} {
		tr, _ := selinuxSite(t, site, rules(listsFolder))
		was := list(t, tr)
		out, err := liveInstall(t, tr, Options{})
		if !errors.Is(err, ErrWithdrawn) || !strings.Contains(err.Error(), "SELinux denies libvirtd (virtd_t)") {
			t.Errorf("the install: %v\n%s", err, out)
		}
		if now := list(t, tr); now != was {
			t.Errorf("it changed\n%s\ninto\n%s", was, now)
		}
		st := inspect(t, tr, Options{})
		if st.Live || st.Denied == "" || !strings.Contains(strings.Join(st.Why, "\n"), st.Denied) {
			t.Errorf("status: %+v", st)
		}
	}
}

// A hook whose label is not known is not placed, since it might be one that libvirt may not execute.
func TestUnknownLabel(t *testing.T) {
	tr, p := selinuxSite(t, nil, rules(listsFolder, runsOwn, runsAny))
	p.Labels[tr.root+dropInDir], p.LabelErr = "", fmt.Errorf("%w in time", confine.ErrLabel)
	was := list(t, tr)
	out, err := liveInstall(t, tr, Options{})
	if !errors.Is(err, p.LabelErr) || !strings.Contains(err.Error(), "SELinux was not asked whether libvirtd may execute the hook: ") {
		t.Errorf("the install: %v\n%s", err, out)
	}
	if now := list(t, tr); now != was {
		t.Errorf("it changed\n%s\ninto\n%s", was, now)
	}
}

// With the policy module only the path that is hugeguard's alone has the label that libvirt may execute. The label is set
// before the file gets its name.
func TestDropInWhereAllowed(t *testing.T) {
	tr, p := selinuxSite(t, nil, rules(listsFolder, runsOwn))
	before := filepath.Join(tr.root, HookDir, tempName)
	out, err := liveInstall(t, tr, Options{})
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if p.Set[before] != ownType {
		t.Errorf("labels were set to %v, want that of %s", p.Set, before)
	}
	if label, ok := p.Set[tr.root+dropInHook]; ok {
		t.Errorf("it was labelled %s after it got its name", label)
	}
	if p.Set[tr.root+dropInDir] != etcType {
		t.Errorf("the folder that was made has another label: %v", p.Set)
	}
	st := inspect(t, tr, Options{})
	if st.Layout != DropIn || !st.Live || st.Denied != "" || st.Label != ownType || st.PolicyLabel != ownType {
		t.Errorf("status: %+v", st)
	}
	if out, err := liveInstall(t, tr, Options{}); err != nil || !strings.HasPrefix(out, "already installed") {
		t.Errorf("once more: %v\n%s", err, out)
	}
	if out, err := liveInstall(t, tr, Options{Layout: Main}); !errors.Is(err, ErrWithdrawn) || !strings.Contains(err.Error(), "--layout drop-in") {
		t.Errorf("in a layout that is denied: %v\n%s", err, out)
	}
}

// A policy that denies the hook later has it taken away, and the site's hook stays in force. One that allows it again
// does not bring it back by itself.
func TestDeniedLater(t *testing.T) {
	for name, c := range map[string]struct {
		site   map[string]string
		layout Layout
	}{
		"main":    {layout: Main},
		"drop-in": {site: map[string]string{"/etc/libvirt/hooks/qemu": siteText}, layout: DropIn},
		"chain":   {site: map[string]string{"/etc/libvirt/hooks/qemu": siteText}, layout: Chain},
	} {
		allowed := rules(listsFolder, runsOwn, runsAny)
		tr, p := selinuxSite(t, c.site, allowed)
		was := list(t, tree{root: filepath.Join(tr.root, "etc")})
		if out, err := liveInstall(t, tr, Options{Layout: c.layout}); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		var out strings.Builder
		j := &job{Options: Options{Out: &out}, tree: tr, live: true}
		if err := j.withdrawDenied(context.Background()); err != nil || out.Len() > 0 {
			t.Errorf("%s: nothing is denied, but %v\n%s", name, err, &out)
		}
		p.Rules = nil
		if err := j.withdrawDenied(context.Background()); !errors.Is(err, ErrWithdrawn) || !strings.HasPrefix(out.String(), "re") { // remove, or rename the site's hook
			t.Errorf("%s: denied later: %v\n%s", name, err, &out)
		}
		if now := list(t, tree{root: filepath.Join(tr.root, "etc")}); now != was {
			t.Errorf("%s: there is\n%s\nnot what there was\n%s", name, now, was)
		}
		p.Rules = allowed
		if err := j.withdrawDenied(context.Background()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if st := inspect(t, tr, Options{}); st.Installed || st.Denied != "" {
			t.Errorf("%s: %+v", name, st)
		}
	}
}

// A policy that denies the hook later, and allows it as a drop-in, has it moved there: there is always a guard.
func TestDeniedLaterMoves(t *testing.T) {
	tr, p := selinuxSite(t, nil, rules(listsFolder, runsOwn, runsAny))
	if out, err := liveInstall(t, tr, Options{}); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if st := inspect(t, tr, Options{}); st.Layout != Main {
		t.Fatalf("layout %s", st.Layout)
	}
	p.Rules = rules(listsFolder, runsOwn)
	for _, want := range []string{"place " + tr.root + dropInHook, ""} {
		var out strings.Builder
		program, _ := programs(t)
		j := &job{Options: Options{Hook: program, Out: &out}, tree: tr, live: true}
		if err := j.withdrawDenied(context.Background()); err != nil || !strings.Contains(out.String(), want) || want == "" && out.Len() > 0 {
			t.Errorf("%v\n%s", err, &out)
		}
		if st := inspect(t, tr, Options{}); st.Layout != DropIn || !st.Live || st.Denied != "" {
			t.Errorf("%+v", st)
		}
	}
}

// unasked is a kernel that does not answer what a process may do.
type unasked struct {
	*installtest.Policy
	source string // the process's context; "" for any
}

func (u unasked) Ask(file string, question []byte) (string, error) {
	if filepath.Base(file) == "access" && strings.HasPrefix(string(question), u.source) {
		return "", os.ErrPermission
	}
	return u.Policy.Ask(file, question)
}

// A kernel that does not answer might deny the hook, which is not placed then, unless it would only log that.
func TestNotAsked(t *testing.T) {
	tr, p := selinuxSite(t, nil, rules(listsFolder, runsAny))
	tr.kernel = unasked{Policy: p}
	was := list(t, tr)
	if out, err := liveInstall(t, tr, Options{}); !errors.Is(err, os.ErrPermission) || errors.Is(err, ErrWithdrawn) {
		t.Errorf("the install: %v\n%s", err, out)
	}
	if now := list(t, tr); now != was {
		t.Errorf("it changed\n%s\ninto\n%s", was, now)
	}
	tr, p = selinuxSite(t, nil, rules(listsFolder, runsAny))
	tr.kernel = unasked{Policy: p}
	installtest.WriteSELinux(t, tr.root, "0")
	if out, err := liveInstall(t, tr, Options{}); err != nil || !strings.Contains(out, "note: SELinux was not asked") {
		t.Errorf("permissive: %v\n%s", err, out)
	}
	if st := inspect(t, tr, Options{}); !st.Installed {
		t.Errorf("permissive: %+v", st)
	}
}

// What is denied to one daemon counts, though the kernel does not answer for another.
func TestDeniedToOne(t *testing.T) {
	tr, p := selinuxSite(t, nil, rules(listsFolder, runsAny))
	if out, err := liveInstall(t, tr, Options{}); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	installtest.Write(t, tr.root+"/usr/sbin/virtqemud", "") // without a label: it has init's context
	p.Rules, tr.kernel = nil, unasked{p, initContext}
	j := &job{Options: Options{Out: io.Discard}, tree: tr, live: true}
	if err := j.withdrawDenied(context.Background()); !errors.Is(err, ErrWithdrawn) {
		t.Error(err)
	}
	if st := inspect(t, tr, Options{}); st.Installed {
		t.Errorf("%+v", st)
	}
}

// A domain that is only permissive keeps nobody from the hook, but its day will come.
func TestPermissive(t *testing.T) {
	tr, p := selinuxSite(t, nil, rules(listsFolder))
	p.Permissive = true
	out, err := liveInstall(t, tr, Options{})
	if err != nil || !strings.Contains(out, "note: SELinux is permissive, but once it enforces it will deny libvirtd") {
		t.Errorf("%v\n%s", err, out)
	}
	st := inspect(t, tr, Options{})
	if !st.Live || st.Denied != "" || !strings.Contains(strings.Join(st.Why, "\n"), "once it enforces") {
		t.Errorf("%+v", st)
	}
}

// A label that cannot be set leaves no hook with a wrong one.
func TestLabelFails(t *testing.T) {
	tr, p := selinuxSite(t, nil, rules(listsFolder, runsOwn))
	tr.kernel = unlabellable{p}
	if out, err := liveInstall(t, tr, Options{}); !errors.Is(err, os.ErrPermission) {
		t.Errorf("%v\n%s", err, out)
	}
	if st := inspect(t, tr, Options{}); st.Installed {
		t.Errorf("%+v", st)
	}
}

type unlabellable struct{ *installtest.Policy }

func (unlabellable) SetLabel(path, label string) error { return os.ErrPermission }

// An image is labelled and asked about when it runs. If its SELinux will be on, the hook is put where hugeguard-selinux
// allows it.
func TestImage(t *testing.T) {
	const (
		enforcing = "# SELINUX=disabled\nSELINUX = no\nSELINUXTYPE=targeted\nSELINUX=enforcing\n"
		library   = "/usr/lib64/libvirt.so.0.9000.0"
	)
	for name, c := range map[string]struct {
		config, libvirt string
		layout, want    Layout
	}{
		"enforcing":        {config: enforcing, libvirt: library, want: DropIn},
		"permissive":       {config: "SELINUX=permissive\n", libvirt: library, want: DropIn},
		"disabled":         {config: "SELINUX=disabled\n", libvirt: library, want: Main},
		"no SELinux":       {libvirt: library, want: Main},
		"the admin's wish": {config: enforcing, libvirt: library, layout: Main, want: Main},
		"an older libvirt": {config: enforcing, libvirt: "/usr/lib64/libvirt.so.0.6004.0", want: Main},
		"no libvirt yet":   {config: enforcing, want: Main},
	} {
		for _, live := range []bool{false, true} { // true: in a container that builds the image
			files := map[string]string{"/proc/uptime": "100.00 100.00\n", "/proc/sys/kernel/random/boot_id": "6f1ed002-ab5e-49d5-9d1c-1d1b3e1c2a11\n"}
			if c.config != "" {
				files["/etc/selinux/config"] = c.config
			}
			if c.libvirt != "" {
				files[c.libvirt] = ""
			}
			tr := makeSite(t, files)
			for range 2 { // the second changes nothing
				o := Options{Layout: c.layout, Hook: built(t), Out: io.Discard}
				if err := (&job{Options: o, tree: tr, live: live}).install(context.Background()); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if st := inspect(t, tr, Options{}); st.Layout != c.want {
					t.Errorf("%s, live %v: layout %s, want %s", name, live, st.Layout, c.want)
				}
			}
		}
	}
}

// A folder that a container has mounted stays: the container would not see a new one.
func TestMountedFolderStays(t *testing.T) {
	for mounted, want := range map[string]bool{
		"900 800 254:0 /etc/libvirt/hooks /etc/libvirt/hooks ro,relatime - ext4 /dev/vda rw\n": true,
		"900 800 254:0 / / rw,relatime - overlay overlay rw\n":                                 false,
	} {
		container := t.TempDir()
		tr := makeSite(t, map[string]string{
			"/proc/77/comm":                   "libvirtd\n",
			"/proc/77/stat":                   "77 (libvirtd) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 12345 99 100\n",
			"/proc/77/mountinfo":              mounted,
			"/proc/sys/kernel/random/boot_id": "6f1ed002-ab5e-49d5-9d1c-1d1b3e1c2a11\n",
			"/proc/uptime":                    "1000.00 1000.00\n",
			"/etc/libvirt/qemu.conf":          "",
		})
		if out, err := liveInstall(t, tr, Options{}); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for link, to := range map[string]string{
			tr.root + "/proc/77/root":        container,
			container + "/etc/libvirt/hooks": tr.root + "/etc/libvirt/hooks", // the same directory, by another way
		} {
			if err := errors.Join(os.MkdirAll(filepath.Dir(link), 0o755), os.Symlink(to, link)); err != nil {
				t.Fatal(err)
			}
		}
		j := &job{Options: Options{Out: io.Discard}, tree: tr, live: true}
		installtest.Write(t, tr.root+"/run/libvirtd.pid", "77\n")
		p, is := j.mountedBy(HookDir, tr.root+HookDir)
		if is != want || is && p.PID != 77 {
			t.Errorf("%q: mounted by %+v, %v", mounted, p, is)
		}
		s, err := j.scene()
		if err != nil {
			t.Fatal(err)
		}
		steps, err := j.rmdirs(s, hookDirs)
		if err != nil || (len(steps) == 0) != want {
			t.Errorf("%q: %d directories would go, %v", mounted, len(steps), err)
		}
	}
}
