package vswitch

import (
	"bytes"
	"fmt"
	"path"
	"strings"
	"time"

	"hugeguard/guard"
	"hugeguard/guard/ovs"
	"hugeguard/sysfs"
)

// CapturedUse is where a captured host has the answer of ovs-vswitchd to [ovs.UseRequest].
const CapturedUse = "run/openvswitch/malloc-stats.json"

// Use asks the Open vSwitch that holds pages how much of them it uses, until the deadline at the latest; nil where it
// does not answer, or there are several.
func Use(root sysfs.FS, host guard.Host, deadline time.Time) ovs.Use {
	if !root.Live() {
		text, err := root.ReadFile(CapturedUse, ovs.ReplyLimit)
		if err != nil {
			return nil
		}
		use, _ := ovs.ReadUse(bytes.NewReader(text))
		return use
	}
	for _, control := range controls(root, onlyOVS(host)) {
		use, err := askSocket(root, control, deadline, ovs.AskUse)
		if err == nil {
			return use
		}
	}
	return nil
}

// onlyOVS returns the only Open vSwitch that holds pages; 0 where there is none, or another.
func onlyOVS(host guard.Host) (pid int) {
	if host.Holders == nil {
		return 0
	}
	for _, h := range host.Holders.List {
		switch {
		case h.Kind != guard.HolderOVS || h.PID == pid:
		case pid != 0:
			return 0
		default:
			pid = h.PID
		}
	}
	return pid
}

// controls are where the control socket of an ovs-vswitchd may be, as its own mount namespace has it: where it was told
// to have it, or in the directory of its pid file or of its database's socket (unixctl_server_create).
func controls(root sysfs.FS, pid int) (sockets []socket) {
	arguments, err := root.Arguments(pid)
	if pid == 0 || err != nil || len(arguments) == 0 {
		return nil
	}
	inside := fmt.Sprintf("proc/%d/root", pid)
	var dirs []string
	for _, argument := range arguments[1:] {
		if at, ok := strings.CutPrefix(argument, "--unixctl="); ok && path.IsAbs(at) {
			return []socket{{inside, path.Clean(at)}}
		}
		for _, kind := range []string{"--pidfile=", "unix:"} {
			if at, ok := strings.CutPrefix(argument, kind); ok && path.IsAbs(at) {
				dirs = append(dirs, path.Dir(path.Clean(at)))
			}
		}
	}
	name := fmt.Sprintf("%s.%d.ctl", path.Base(arguments[0]), root.InnerPID(pid))
	for _, dir := range append(dirs, path.Dir(databases[0])) {
		s := socket{inside, path.Join(dir, name)}
		if len(sockets) == 0 || sockets[len(sockets)-1] != s {
			sockets = append(sockets, s)
		}
	}
	return sockets
}
