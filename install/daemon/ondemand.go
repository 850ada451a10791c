package daemon

import (
	"slices"
	"strconv"
	"strings"
)

// sockets are where clients connect to the daemons of [Names], in the same order. virtproxyd takes the place of libvirtd
// at the last one, and connects to virtqemud.
var sockets = []string{"/run/libvirt/virtqemud-sock", "/run/libvirt/libvirt-sock"}

// mostSockets is more than /proc/net/unix has on any host, in bytes.
const mostSockets = 64 << 20

// OnDemand returns the name of the daemon that starts when a client connects, if none runs: somebody listens on its
// socket in its place, such as systemd for virtqemud.socket. It returns "" if nobody does.
//
// It asks process 1, because a unit with PrivateNetwork= sees no sockets of the host.
func (h Host) OnDemand() string {
	text, _ := h.Proc.ReadFile(proc(1, "net/unix"), mostSockets) // without it nobody is known to listen
	listening := make([]bool, len(sockets))
	for line := range strings.Lines(string(text)) {
		if i := slices.Index(sockets, listensAt(line)); i >= 0 {
			listening[i] = true
		}
	}
	if i := slices.Index(listening, true); i >= 0 {
		return Names[i]
	}
	return ""
}

// accepts is the flag of a socket that listens (__SO_ACCEPTCON, net/unix/af_unix.c, unix_seq_show).
const accepts = 1 << 16

// listensAt returns the path of a line of /proc/net/unix if that socket listens: "Num RefCount Protocol Flags Type St
// Inode Path".
func listensAt(line string) string {
	fields := strings.Fields(line)
	if len(fields) != 8 {
		return ""
	}
	flags, err := strconv.ParseUint(fields[3], 16, 32)
	if err != nil || flags&accepts == 0 {
		return ""
	}
	return strings.TrimPrefix(fields[7], "/var") // a link to /run
}
