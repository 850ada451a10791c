package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"hugeguard/testdata/machine"
)

// nodePool is node 0's pool of 2 MiB pages.
const nodePool = "/sys/devices/system/node/node0/hugepages/hugepages-2048kB"

func readCount(file string) (int, error) {
	text, err := os.ReadFile(filepath.Join(nodePool, file))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

func freePages() (int, error) { return readCount("free_hugepages") }

// prepareHost sees to it that node 0 has want free pages, and then that
// somebody, this process, holds some of them. The returned function undoes it.
func prepareHost(want, hold int) (restore func() error, err error) {
	if err := ownMounts(); err != nil {
		return nil, err
	}
	// This thread and all that it starts go before whatever else runs here,
	// which would otherwise decide much of what is measured.
	first := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1}
	if err := unix.SchedSetAttr(0, &first, 0); err != nil {
		return nil, os.NewSyscallError("sched_setattr", err)
	}
	// The tests on a live host take the same lock: each would judge the
	// other's pages.
	lock, err := os.Open("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, fmt.Errorf("somebody else works with the machine's huge pages (lock on %s): %w", lock.Name(), err)
	}
	shrink, err := growPool(want)
	if err != nil {
		return nil, err
	}
	release, err := holdPages(hold)
	if err != nil {
		return nil, errors.Join(err, shrink())
	}
	return func() error { return errors.Join(release(), shrink(), lock.Close()) }, nil
}

// nodesDir has the kernel's nodes.
const nodesDir = "/sys/devices/system/node"

// pretendNodes shows this thread, and all that it starts, a host of so many nodes
// of which the first has what there really is. It goes with the bench's mounts.
func pretendNodes(count int) (restore func() error, err error) {
	dir := fmt.Sprintf("/run/nodes-%d", count)
	distances := strings.TrimSuffix("10 "+strings.Repeat("21 ", count-1), " ") + "\n"
	files := map[string]string{}
	for _, name := range []string{"online", "has_memory", "has_cpu"} {
		files[name] = fmt.Sprintf("0-%d\n", count-1)
	}
	for id := range count {
		node := fmt.Sprintf("node%d/", id)
		files[node+"cpulist"], files[node+"distance"] = "\n", distances
		for _, name := range []string{"nr_hugepages", "free_hugepages", "surplus_hugepages"} {
			files[node+"hugepages/hugepages-2048kB/"+name] = "0\n"
		}
	}
	for name := range files {
		if strings.HasPrefix(name, "node0/") {
			text, err := os.ReadFile(filepath.Join(nodesDir, name))
			if err != nil {
				return nil, err
			}
			files[name] = string(text)
		}
	}
	files["node0/distance"] = distances
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	if err := unix.Mount(dir, nodesDir, "", unix.MS_BIND, ""); err != nil {
		return nil, os.NewSyscallError("mount", err)
	}
	return func() error { return os.NewSyscallError("umount", unix.Unmount(nodesDir, 0)) }, nil
}

// growPool makes the pool larger until want pages are free.
func growPool(want int) (shrink func() error, err error) {
	total, err := readCount("nr_hugepages")
	if err != nil {
		return nil, fmt.Errorf("node 0 has no pool of 2 MiB pages: %w", err)
	}
	free, err := freePages()
	if err != nil {
		return nil, err
	}
	if free >= want {
		return func() error { return nil }, nil
	}
	shrink = func() error {
		return os.WriteFile(filepath.Join(nodePool, "nr_hugepages"), []byte(strconv.Itoa(total)), 0)
	}
	if err := machine.SetPool(nodePool, total+want-free); err != nil {
		return nil, errors.Join(err, shrink())
	}
	return shrink, nil
}

// holdPages takes pages of node 0 as Open vSwitch with DPDK does: a memfd and
// a mapping for each.
func holdPages(n int) (release func() error, err error) {
	var pages [][]byte
	release = func() error {
		var failed error
		for _, page := range pages {
			failed = errors.Join(failed, unix.Munmap(page))
		}
		pages = nil
		return failed
	}
	for i := range n {
		page, err := holdPage(fmt.Sprintf("seg_0-%d", i))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("holding a huge page: %w", err), release())
		}
		pages = append(pages, page)
	}
	return release, nil
}

func holdPage(name string) ([]byte, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_HUGETLB|unix.MFD_HUGE_2MB)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, pageKiB<<10); err != nil {
		return nil, err
	}
	page, err := unix.Mmap(fd, 0, pageKiB<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	const bind = 2 // MPOL_BIND
	node0 := uint64(1)
	_, _, errno := unix.Syscall6(unix.SYS_MBIND, uintptr(unsafe.Pointer(&page[0])), uintptr(len(page)), bind,
		uintptr(unsafe.Pointer(&node0)), 64, 0)
	if errno != 0 {
		return nil, errors.Join(os.NewSyscallError("mbind", errno), unix.Munmap(page))
	}
	page[0] = 1
	return page, nil
}

// ownMounts gives this thread, and all that it starts, mounts of its own: a
// hugetlbfs, and an empty /run with a journal that nobody reads, so that
// neither the measured programs' entries nor their files reach the host.
func ownMounts() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("a mount namespace of its own: %w (it takes root)", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return os.NewSyscallError("mount", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("/run: %w", err)
	}
	pages := "/run/hugepages"
	if err := os.Mkdir(pages, 0o700); err != nil {
		return err
	}
	if err := unix.Mount("hugetlbfs", pages, "hugetlbfs", 0, "pagesize=2M"); err != nil {
		return fmt.Errorf("hugetlbfs: %w", err)
	}
	journal := "/run/systemd/journal"
	if err := os.MkdirAll(journal, 0o755); err != nil {
		return err
	}
	// What syslog's clients find behind /dev/log where systemd runs.
	for _, name := range []string{"socket", "dev-log"} {
		socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: filepath.Join(journal, name)})
		if err != nil {
			return err
		}
		go func() {
			for entry := make([]byte, 64<<10); ; {
				if _, err := socket.Read(entry); err != nil {
					return
				}
			}
		}()
	}
	return nil
}

// gather fills the host up to so many processes, which sleep.
func gather(want int) (disperse func(), err error) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		return nil, err
	}
	now, err := countProcesses()
	if err != nil {
		return nil, err
	}
	var pids []int
	disperse = func() {
		for _, pid := range pids {
			// They are children not yet waited for: the pid is still theirs.
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		for _, pid := range pids {
			_, _, _ = wait(pid)
		}
	}
	attr := &syscall.ProcAttr{
		Dir: "/",
		// They end with this process, however that ends, and leave the
		// terminal's interrupt to it.
		Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true},
	}
	for range want - now {
		pid, err := syscall.ForkExec(sleep, []string{"sleep", "infinity"}, attr)
		if err != nil {
			disperse()
			return nil, fmt.Errorf("process %d of %d: %w", len(pids)+1, want-now, err)
		}
		pids = append(pids, pid)
	}
	return disperse, nil
}

// countProcesses counts the host's processes, kernel threads among them.
func countProcesses() (int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	n := 0
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err == nil {
			n++
		}
	}
	return n, nil
}
