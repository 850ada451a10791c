// Package vswitch asks what Open vSwitch was told about huge pages, and tells how many it has and uses.
package vswitch

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hugeguard/guard"
	"hugeguard/guard/ovs"
	"hugeguard/hook/config"
	"hugeguard/hook/survey/process"
	"hugeguard/sysfs"
)

// databases are the sockets at which Open vSwitch's database usually listens: of packages, of the same from source, of
// the snap of MicroOVN. TripleO, Kolla and RHOSO share /run/openvswitch with their containers.
var databases = []string{
	"/run/openvswitch/db.sock",
	"/usr/local/var/run/openvswitch/db.sock",
	"/var/snap/microovn/common/run/switch/db.sock",
}

// Captured is where a captured host has the database's answer to [ovs.Request], which has no socket.
const Captured = "run/openvswitch/db.json"

// Ask asks what Open vSwitch was told about huge pages, until the deadline at the latest. Without an answer it is nil,
// and what /proc shows stands alone; known is whether there is none to be had, or it came in time.
func Ask(root sysfs.FS, conf config.Config, host guard.Host, deadline time.Time) (o *guard.OVS, known bool) {
	told, err := askOVS(root, conf, host, deadline)
	if err != nil {
		return nil, !isLate(err)
	}
	o = &guard.OVS{Config: told, HeldKiB: heldByOVS(root, host)}
	if !told.Init {
		return o, true
	}
	if host.Holders == nil && o.HeldKiB != nil && *o.HeldKiB == 0 {
		// Before that is said of it: its pid file may lie elsewhere, or hold the pid that it has in a container.
		o.HeldKiB = seenWithOVS(root, deadline)
	}
	o.Sizes = sizesWithPages(root, host)
	return o, true
}

// isLate reports whether an error of a database's is that it has not answered yet: it did not in time, or has too many
// who wait for it.
func isLate(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, unix.EAGAIN)
}

// Concerns says whether it is worth asking what Open vSwitch was told, although a start need not be refused: it does
// not hold any pages yet, or little is left for the interfaces of the domain that it is to serve. To find out costs two
// small files.
func Concerns(root sysfs.FS, demand guard.Demand, host guard.Host) bool {
	held := heldByOVS(root, host)
	return held != nil && *held == 0 || guard.LeavesNoMempool(demand, host)
}

// MayConcern is Concerns for who looks at what is near alone. Where Open vSwitch
// keeps no pid file beside its database's socket, or the pid is that of its container,
// nobody can tell cheaply that it holds nothing yet: it is asked where little is left.
func MayConcern(near sysfs.FS, conf config.Config, demand guard.Demand, host guard.Host) bool {
	sockets := conf.OVSDB
	if sockets == nil {
		sockets = databases
	}
	if !near.Live() {
		sockets = []string{"/" + Captured}
	}
	there := false
	for _, socket := range sockets {
		var stat syscall.Stat_t
		err := near.Status(sysfs.Below("", socket), &stat)
		if err == nil && holdsNothingYet(near, path.Dir(sysfs.Below("", socket))) {
			return true
		}
		there = there || err == nil || errors.Is(err, sysfs.ErrFar)
	}
	return there && guard.LeavesNoMempool(demand, host)
}

// holdsNothingYet says whether Open vSwitch, of which that is the directory for what
// runs, does not run, or has no huge pages.
func holdsNothingYet(near sysfs.FS, dir string) bool {
	switch p, err := processByPidFile(near, dir+"/ovs-vswitchd.pid"); {
	case err == nil:
		return process.IsOVS(p.Name) && p.HugetlbKiB == 0
	case !errors.Is(err, fs.ErrNotExist):
		return false
	}
	// Who keeps no pid files at all tells nothing by that.
	return near.Exists(dir+"/ovs-vswitchd.pid") || near.Exists(dir+"/ovsdb-server.pid")
}

// ovsByPidFile returns the process that Open vSwitch's pid file names, whatever that is
// now; none, with fs.ErrNotExist, where it does not run.
func ovsByPidFile(root sysfs.FS) (sysfs.Process, error) {
	return processByPidFile(root, "run/openvswitch/ovs-vswitchd.pid")
}

// processByPidFile is that for any pid file.
func processByPidFile(root sysfs.FS, name string) (sysfs.Process, error) {
	pid, err := root.ReadPID(name)
	if err != nil {
		return sysfs.Process{}, err
	}
	return root.Process(pid)
}

// askOVS asks one database after the other until one answers. The error is that of a database that may still answer.
func askOVS(root sysfs.FS, conf config.Config, host guard.Host, deadline time.Time) (told ovs.Config, err error) {
	if !root.Live() {
		text, err := root.ReadFile(Captured, ovs.ReplyLimit)
		if err == nil {
			told, err = ovs.Read(bytes.NewReader(text))
		}
		return told, err
	}
	names, contained := conf.OVSDB, []socket(nil)
	if names == nil {
		names, contained = databases, containedDatabases(root, host)
	}
	var sockets []socket
	for _, name := range names {
		sockets = append(sockets, socket{path: name})
	}
	err = fs.ErrNotExist
	for _, s := range append(sockets, contained...) {
		told, asked := askSocket(root, s, deadline, ovs.Ask)
		if asked == nil {
			return told, nil
		}
		if isLate(asked) {
			err = asked
		}
	}
	return told, err
}

// socket is where a daemon of Open vSwitch may listen.
type socket struct {
	root string // in which the path is, such as proc/812/root; "" for this program's own
	path string
}

// askSocket asks the daemon of Open vSwitch at a socket, whose peer has to be one that is believed.
func askSocket[T any](root sysfs.FS, at socket, deadline time.Time, ask func(io.ReadWriter) (T, error)) (answer T, err error) {
	socket := at.root + at.path // for messages
	// To see that there is none costs a tenth of trying to connect.
	fd, err := root.OpenPath(at.root, at.path)
	if err != nil {
		return answer, err
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return answer, &fs.PathError{Op: "stat", Path: socket, Err: err}
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return answer, &fs.PathError{Op: "connect", Path: socket, Err: unix.ENOTSOCK}
	}
	connection, err := connect("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return answer, err
	}
	defer connection.Close()
	if !believedPeer(root, connection) {
		return answer, &fs.PathError{Op: "connect", Path: socket, Err: errPeer}
	}
	if err := connection.SetDeadline(deadline); err != nil {
		return answer, err
	}
	return ask(connection)
}

// connect connects to a UNIX socket, which never waits: a full queue is an error. Package net would cost each call of the
// hook 6 % more.
func connect(name string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: name}); err != nil {
		unix.Close(fd)
		return nil, &fs.PathError{Op: "connect", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

var errPeer = errors.New("the process that listens there is not Open vSwitch")

// believedPeer says whether who listens at a socket is root, who runs this program, or Open vSwitch's own user.
func believedPeer(root sysfs.FS, connection *os.File) bool {
	raw, err := connection.SyscallConn()
	if err != nil {
		return false
	}
	var peer *unix.Ucred
	if raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }) != nil || err != nil {
		return false
	}
	if peer.Uid == 0 || int(peer.Uid) == os.Geteuid() {
		return true
	}
	p, err := root.Process(int(peer.Pid))
	return err == nil && p.UID == int(peer.Uid) && process.Believed(root, p, process.OpenVSwitch)
}

// containedDatabases are the sockets that running daemons of Open vSwitch were
// told to use, as their own mount namespaces have them.
func containedDatabases(root sysfs.FS, host guard.Host) []socket {
	if host.Holders == nil {
		return nil
	}
	var sockets []socket
	for _, h := range host.Holders.List {
		if h.Kind != guard.HolderOVS {
			continue
		}
		inside := databases[0]
		arguments, _ := root.Arguments(h.PID)
		for _, argument := range arguments {
			if socket, ok := strings.CutPrefix(argument, "unix:"); ok && path.IsAbs(socket) {
				inside = socket
			}
		}
		sockets = append(sockets, socket{"proc/" + strconv.Itoa(h.PID) + "/root", path.Clean(inside)})
	}
	return sockets
}

// heldByOVS is how much huge memory ovs-vswitchd maps, guests' among it, by the holders if they were looked for, else
// by its pid file; 0 where it does not run, nil where that cannot be told: a container has pids of its own.
func heldByOVS(root sysfs.FS, host guard.Host) *uint64 {
	held := uint64(0)
	if host.Holders != nil {
		for _, h := range host.Holders.List {
			if h.Kind == guard.HolderOVS {
				for _, pages := range h.Pages {
					held += pages * h.PageKiB
				}
			}
		}
		if held == 0 && (host.Holders.Cut || len(host.Holders.Unreadable) > 0) {
			return nil
		}
		return &held
	}
	p, err := ovsByPidFile(root)
	if errors.Is(err, fs.ErrNotExist) {
		return &held
	}
	if err != nil || !isVSwitch(root, p) {
		return nil
	}
	return &p.HugetlbKiB
}

// isVSwitch reports whether a process is Open vSwitch's daemon.
func isVSwitch(root sysfs.FS, p sysfs.Process) bool {
	kind, _ := process.Identify(root, p, nil)
	return kind == guard.HolderOVS
}

// seenWithOVS is how much huge memory those processes map that are
// ovs-vswitchd, guests' among it; nil where there is no time for all processes.
func seenWithOVS(root sysfs.FS, deadline time.Time) *uint64 {
	processes, cut, err := process.List(root, deadline)
	if err != nil || cut {
		return nil
	}
	held := uint64(0)
	for _, p := range processes {
		if p.HugetlbKiB > 0 && isVSwitch(root, p) {
			held += p.HugetlbKiB
		}
	}
	return &held
}

// sizesWithPages are the page sizes of which the host has any pages; nil where not all of them can be asked.
func sizesWithPages(root sysfs.FS, host guard.Host) []uint64 {
	sizes := []uint64{}
	for _, kib := range host.Sizes {
		pool, ok, err := root.Pool(kib, nil)
		if err != nil {
			return nil
		}
		if ok && pool.Total > 0 {
			sizes = append(sizes, kib)
		}
	}
	return sizes
}
