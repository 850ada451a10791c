package main

import (
	"slices"
	"testing"
)

// TestSorted: a denial counts as hugeguard's by who is denied, by what is, and by the program.
func TestSorted(t *testing.T) {
	const (
		hook   = `type=AVC msg=audit(1764000000.123:77): avc:  denied  { read } for  pid=900 comm="zz-hugeguard" name="x" dev="vda" ino=4 scontext=system_u:system_r:hugeguard_t:s0 tcontext=system_u:object_r:shadow_t:s0 tclass=file permissive=0`
		again  = `type=AVC msg=audit(1764000009.321:78): avc:  denied  { read } for  pid=901 comm="zz-hugeguard" name="x" dev="vda" ino=5 scontext=system_u:system_r:hugeguard_t:s0 tcontext=system_u:object_r:shadow_t:s0 tclass=file permissive=0`
		daemon = `type=AVC msg=audit(1764000000.123:79): avc:  denied  { execute } for  pid=800 comm="rpc-libvirtd" name="qemu" dev="vda" ino=6 scontext=system_u:system_r:virtd_t:s0 tcontext=system_u:object_r:hugeguard_exec_t:s0 tclass=file permissive=0`
		other  = `type=AVC msg=audit(1764000000.123:80): avc:  denied  { read } for  pid=1 comm="systemd" name="y" dev="vda" ino=7 scontext=system_u:system_r:init_t:s0 tcontext=system_u:object_r:etc_t:s0 tclass=file permissive=0`
		logged = `type=AVC msg=audit(1764000000.123:83): avc:  denied  { map } for  pid=2 comm="ovs-ctl" path="/z" dev="vda" ino=8 scontext=system_u:system_r:openvswitch_t:s0 tcontext=system_u:object_r:etc_t:s0 tclass=file permissive=1`
		change = `type=AVC msg=audit(1764000000.123:81): avc:  denied  { rlimitinh siginh } for  pid=900 comm="zz-hugeguard" scontext=system_u:system_r:virtd_t:s0 tcontext=system_u:system_r:hugeguard_t:s0 tclass=process permissive=0`
		exec   = `type=SELINUX_ERR msg=audit(1764000000.123:82): op=security_bounded_transition seresult=denied oldcontext=system_u:system_r:init_t:s0 newcontext=system_u:system_r:hugeguard_t:s0`
		call   = `type=SYSCALL msg=audit(1764000000.123:77): arch=c000003e syscall=2 comm="zz-hugeguard" exe="/etc/libvirt/hooks/qemu.d/zz-hugeguard"`
	)
	own, rest := sorted(hook + "\n" + call + "\n" + again + "\n" + daemon + "\n" + other + "\n" + logged + "\n" + change + "\n" + exec + "\n")
	strip := func(line string) string { return changing.ReplaceAllString(line, "") }
	if want := []string{strip(hook), strip(daemon), strip(exec)}; !slices.Equal(own, want) {
		t.Errorf("hugeguard's are %q, want %q", own, want)
	}
	if want := []string{strip(other)}; !slices.Equal(rest, want) {
		t.Errorf("others' are %q, want %q", rest, want)
	}
}
