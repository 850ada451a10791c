package confine

import (
	"strings"
	"syscall"
	"testing"

	"hugeguard/install/daemon"
	"hugeguard/install/installtest"
	"hugeguard/sysfs/sysfstest"
)

const (
	libvirtd = "system_u:system_r:virtd_t:s0-s0:c0.c1023"
	etc      = "system_u:object_r:virt_etc_rw_t:s0"
	own      = "system_u:object_r:hugeguard_exec_t:s0"
	ownAfter = "system_u:system_r:hugeguard_t:s0-s0:c0.c1023"
)

// selinuxHost is a host with SELinux.
func selinuxHost(t *testing.T, enforce string) sysfstest.Host {
	h := sysfstest.New(t)
	installtest.WriteSELinux(t, h.Path(""), enforce)
	return h
}

// SELinux is asked about every step of an execution: with and without a domain of the hook's own.
func TestSELinux(t *testing.T) {
	known := []string{libvirtd, etc, ownAfter, own, "system_u:object_r:" + ownLabel + ":s0"}
	moves := map[string]string{libvirtd + " " + own: ownAfter}
	module := map[string]uint32{
		libvirtd + " " + etc + " 7":      0xf,
		libvirtd + " " + own + " 6":      0xf,
		libvirtd + " " + ownAfter + " 2": 1,
		ownAfter + " " + own + " 6":      0x6c,
	}
	without := func(key string) map[string]uint32 {
		rules := map[string]uint32{}
		for k, v := range module {
			if k != key {
				rules[k] = v
			}
		}
		return rules
	}
	for name, c := range map[string]struct {
		enforce string
		policy  *installtest.Policy
		hook    Hook
		want    string // "" for allowed
		logged  bool
	}{
		"unconfined": {policy: &installtest.Policy{Known: known, Rules: map[string]uint32{libvirtd + " " + etc + " 6": 0x5f}}, hook: Hook{Label: etc}},
		"allowed step by step": {policy: &installtest.Policy{Known: known[:2], Rules: map[string]uint32{libvirtd + " " + etc + " 6": 0x1f}}, hook: Hook{Label: etc},
			want: "(virt_etc_rw_t: map)"},
		"denied": {policy: &installtest.Policy{Known: known[:2], Rules: map[string]uint32{libvirtd + " " + etc + " 6": 0x7}}, hook: Hook{Label: etc},
			want: "SELinux denies libvirtd (virtd_t) to execute the hook (virt_etc_rw_t: execute execute_no_trans map), and every start of a guest would fail: install the package hugeguard-selinux"},
		"denied, the module is loaded": {policy: &installtest.Policy{Known: known, Rules: map[string]uint32{libvirtd + " " + etc + " 6": 0x4f}}, hook: Hook{Label: etc},
			want: "(virt_etc_rw_t: execute_no_trans), and every start of a guest would fail: hugeguard install --layout drop-in"},
		"its own domain": {policy: &installtest.Policy{Known: known, Moves: moves, Rules: module}, hook: Hook{Label: own, DirLabel: etc}},
		"the folder may not be listed": {policy: &installtest.Policy{Known: known, Moves: moves, Rules: without(libvirtd + " " + etc + " 7")}, hook: Hook{Label: own, DirLabel: etc},
			want: "to list qemu.d (virt_etc_rw_t: getattr open read search)"},
		"no transition": {policy: &installtest.Policy{Known: known, Moves: moves, Rules: without(libvirtd + " " + ownAfter + " 2")}, hook: Hook{Label: own},
			want: "(hugeguard_t: transition)"},
		"no entry": {policy: &installtest.Policy{Known: known, Moves: moves, Rules: without(ownAfter + " " + own + " 6")}, hook: Hook{Label: own},
			want: "(hugeguard_exec_t: entrypoint read execute map)"},
		"the module is gone": {policy: &installtest.Policy{Known: known[:2], Rules: map[string]uint32{}}, hook: Hook{Label: own},
			want: "(unlabeled_t: getattr open read execute execute_no_trans map)"},
		"permissive": {enforce: "0", policy: &installtest.Policy{Known: known[:2]}, hook: Hook{Label: etc}, logged: true,
			want: "SELinux is permissive, but once it enforces it will deny libvirtd"},
		"a permissive domain": {policy: &installtest.Policy{Known: known[:2], Permissive: true}, hook: Hook{Label: etc}, logged: true,
			want: "once it enforces"},
	} {
		enforce := c.enforce
		if enforce == "" {
			enforce = "1"
		}
		c.hook.Path = "/etc/libvirt/hooks/qemu"
		host := Host{daemon.On(selinuxHost(t, enforce).FS()), c.policy}
		d, err := host.Denied(Subject{"libvirtd", 0, libvirtd}, c.hook)
		switch {
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want == "" && d != nil, c.want != "" && d == nil:
			t.Errorf("%s: denied %v, want %q", name, d, c.want)
		case d != nil && (!strings.Contains(d.String(), c.want) || d.Enforced == c.logged):
			t.Errorf("%s: %v, enforced %v; want %q", name, d, d.Enforced, c.want)
		}
	}
}

// A module that is not loaded although its package is installed needs no package.
func TestModuleNotLoaded(t *testing.T) {
	h := selinuxHost(t, "1")
	h.Write("etc/selinux/config", "SELINUX=enforcing\nSELINUXTYPE=targeted\n")
	h.Write("usr/share/selinux/packages/targeted/hugeguard.cil", "")
	host := Host{daemon.On(h.FS()), &installtest.Policy{Known: []string{libvirtd, etc}}}
	d, err := host.Denied(Subject{"libvirtd", 0, libvirtd}, Hook{Path: "/etc/libvirt/hooks/qemu", Label: etc})
	if want := "semodule -X 200 -i /usr/share/selinux/packages/targeted/hugeguard.cil, then run hugeguard install"; err != nil || d == nil || d.Fix != want {
		t.Errorf("%+v, %v", d, err)
	}
}

// What cannot be asked is an error, not an answer.
func TestNotAsked(t *testing.T) {
	host := Host{daemon.On(selinuxHost(t, "1").FS()), &installtest.Policy{Err: syscall.EACCES}}
	if d, err := host.Denied(Subject{"libvirtd", 0, libvirtd}, Hook{Path: "/etc/libvirt/hooks/qemu", Label: etc}); d != nil || err == nil {
		t.Errorf("%v, %v", d, err)
	}
	host = Host{daemon.On(selinuxHost(t, "1").FS()), &installtest.Policy{}}
	if d, err := host.Denied(Subject{Name: "libvirtd"}, Hook{Path: "/etc/libvirt/hooks/qemu", Label: etc}); d != nil || err == nil {
		t.Errorf("a daemon without a context: %v, %v", d, err)
	}
	for _, s := range host.Subjects(nil) {
		if d, err := host.Denied(s, Hook{Path: "/etc/libvirt/hooks/qemu", Label: etc}); d != nil || err != nil {
			t.Errorf("no libvirt: %v, %v", d, err)
		}
	}
	host = Host{daemon.On(sysfstest.New(t).FS()), &installtest.Policy{Profile: "nonsense"}}
	if d, err := host.Denied(Subject{"libvirtd", 0, "libvirtd (enforce)"}, Hook{Path: "/etc/libvirt/hooks/qemu"}); d != nil || err == nil {
		t.Errorf("%v, %v", d, err)
	}
}

// AppArmor is asked by the name of the profile, unless that only complains.
func TestAppArmor(t *testing.T) {
	for name, c := range map[string]struct {
		context, answer string
		denied          bool
	}{
		"allowed":     {"libvirtd (enforce)", "allow 0x00000015\ndeny 0x00000000\naudit 0x00000000\nquiet 0x00000000\n", false},
		"not allowed": {"libvirtd (enforce)", "allow 0x00000014\ndeny 0x00000000\n", true},
		"denied":      {"libvirtd (enforce)", "allow 0x00000015\ndeny 0x00000001\n", true},
		"killing":     {"libvirtd (kill)", "allow 0x00000014\ndeny 0x00000000\n", true},
		"complaining": {"libvirtd (complain)", "allow 0x00000000\ndeny 0x00000001\n", false},
		"unconfined":  {"", "", false},
	} {
		host := Host{daemon.On(sysfstest.New(t).FS()), &installtest.Policy{Profile: c.answer}}
		d, err := host.Denied(Subject{"libvirtd", 0, c.context}, Hook{Path: "/etc/libvirt/hooks/qemu"})
		if err != nil || (d != nil) != c.denied {
			t.Errorf("%s: %v, %v", name, d, err)
		}
	}
}

// A daemon that does not run is known by the context that it will get.
func TestSubjects(t *testing.T) {
	h := selinuxHost(t, "1")
	h.Write("usr/sbin/virtqemud", "")
	h.Write("proc/1/attr/current", "system_u:system_r:init_t:s0\x00")
	program := h.FS().Path("usr/sbin/virtqemud")
	host := Host{daemon.On(h.FS()), &installtest.Policy{
		Known:  []string{"system_u:object_r:virtqemud_exec_t:s0"},
		Labels: map[string]string{program: "system_u:object_r:virtqemud_exec_t:s0"},
		Moves:  map[string]string{"system_u:system_r:init_t:s0 system_u:object_r:virtqemud_exec_t:s0": "system_u:system_r:virtqemud_t:s0"},
	}}
	if got := host.Subjects(nil); len(got) != 1 || got[0] != (Subject{"virtqemud", 0, "system_u:system_r:virtqemud_t:s0"}) {
		t.Errorf("SELinux: %+v", got)
	}
	h.Write("proc/7/attr/current", libvirtd+"\x00")
	if got := host.Subjects([]daemon.Process{{Name: "libvirtd", PID: 7}}); len(got) != 1 || got[0] != (Subject{"libvirtd", 7, libvirtd}) {
		t.Errorf("one that runs: %+v", got)
	}

	h = sysfstest.New(t)
	host = Host{daemon.On(h.FS()), &installtest.Policy{}}
	if got := host.Subjects(nil); len(got) != 1 || got[0] != (Subject{Name: "libvirt"}) {
		t.Errorf("no libvirt: %+v", got)
	}
	h.Write("usr/sbin/libvirtd", "")
	h.Write("sys/kernel/security/apparmor/profiles", "libvirtd//qemu_bridge_helper (enforce)\nlibvirtd (enforce)\n")
	if got := host.Subjects(nil); len(got) != 1 || got[0] != (Subject{"libvirtd", 0, "libvirtd (enforce)"}) {
		t.Errorf("AppArmor: %+v", got)
	}
	h.Write("usr/sbin/virtqemud", "")
	if got := host.Subjects(nil); len(got) != 2 {
		t.Errorf("both are installed: %+v", got)
	}
	h.Write("proc/1/net/unix", "0: 00000002 00000000 00010000 0001 01 26711 /run/libvirt/virtqemud-sock\n")
	if got := host.Subjects(nil); len(got) != 1 || got[0] != (Subject{Name: "virtqemud"}) {
		t.Errorf("one starts on demand: %+v", got)
	}
}

// A denial is read whatever its fields' order; one that is only logged is none.
func TestParseAVC(t *testing.T) {
	const line = `type=AVC msg=audit(1764000000.123:77): avc:  denied  { execute } for  pid=900 comm="rpc-libvirtd" name="qemu" dev="vda" ino=4711 scontext=system_u:system_r:virtd_t:s0 tcontext=system_u:object_r:virt_etc_rw_t:s0 tclass=file permissive=0`
	a, ok := ParseAVC(line)
	if want := (AVC{"system_u:system_r:virtd_t:s0", etc, "file", "rpc-libvirtd", "qemu", "", 4711}); !ok || a != want || a.ByHook() {
		t.Errorf("%+v, %v, want %+v", a, ok, want)
	}
	for _, other := range []string{strings.Replace(line, "permissive=0", "permissive=1", 1), "avc:  denied", "type=SYSCALL", ""} {
		if a, ok := ParseAVC(other); ok {
			t.Errorf("%q: %+v", other, a)
		}
	}
	if a, _ := ParseAVC(strings.Replace(line, "system_u:system_r:virtd_t:s0", ownAfter, 1)); !a.ByHook() {
		t.Errorf("the hook's own: %+v", a)
	}
}
