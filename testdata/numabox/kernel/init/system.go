package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	pageKiB   = 2048 // the only size that is played with
	pageBytes = pageKiB << 10
	hugeMount = "/dev/hugepages"
	cgroupDir = "/sys/fs/cgroup"
	poolName  = "hugepages-2048kB"
	poolDir   = "/sys/kernel/mm/hugepages/" + poolName
	nodeDir   = "/sys/devices/system/node"
)

// Kinds of memory policy and flags of mbind, of <linux/mempolicy.h>.
const (
	mpolDefault       = 0
	mpolPreferred     = 1
	mpolBind          = 2
	mpolInterleave    = 3
	mpolPreferredMany = 5
	mpolMFStrict      = 1
	mpolMFMove        = 2
)

const (
	madvPopulateWrite = 23       // of <asm-generic/mman-common.h>, since Linux 5.14
	mfdHuge2MB        = 21 << 26 // MFD_HUGE_2MB of <linux/memfd.h>
)

func mountAll() error {
	for _, m := range [][4]string{
		{"proc", "/proc", "proc", ""}, {"sysfs", "/sys", "sysfs", ""}, {"devtmpfs", "/dev", "devtmpfs", ""},
		{"tmpfs", "/tmp", "tmpfs", ""}, {"cgroup2", cgroupDir, "cgroup2", ""}, {"hugetlbfs", hugeMount, "hugetlbfs", "pagesize=2M"},
	} {
		if err := os.MkdirAll(m[1], 0o755); err != nil {
			return err
		}
		err := unix.Mount(m[0], m[1], m[2], 0, m[3])
		if err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m[1], err)
		}
	}
	return writeFile(cgroupDir+"/cgroup.subtree_control", "+cpuset +hugetlb")
}

func writeFile(name, text string) error { return os.WriteFile(name, []byte(text), 0) }

// setPool gives a node's pool so many pages, or as many as it can. A signal ends
// the kernel's search for pages early, without an error (set_max_huge_pages), and
// Go's runtime sends its threads some: it is asked again where there are fewer.
func setPool(node, pages int) error {
	file := fmt.Sprintf("%s/node%d/hugepages/%s/nr_hugepages", nodeDir, node, poolName)
	for range 3 {
		if err := writeFile(file, strconv.Itoa(pages)); err != nil {
			return err
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if got, err := strconv.Atoi(strings.TrimSpace(string(text))); err != nil || got >= pages {
			return err
		}
	}
	return nil
}

func setOvercommit(pages int) error {
	return writeFile(poolDir+"/nr_overcommit_hugepages", strconv.Itoa(pages))
}

// cpusOf returns the CPUs of a node.
func cpusOf(node int) (cpus unix.CPUSet, err error) {
	text, err := os.ReadFile(fmt.Sprintf("%s/node%d/cpulist", nodeDir, node))
	if err != nil {
		return cpus, err
	}
	for _, part := range strings.FieldsFunc(strings.TrimSpace(string(text)), func(r rune) bool { return r == ',' }) {
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		first, err1 := strconv.Atoi(low)
		last, err2 := strconv.Atoi(high)
		if err := errors.Join(err1, err2); err != nil {
			return cpus, err
		}
		for n := first; n <= last; n++ {
			cpus.Set(n)
		}
	}
	return cpus, nil
}

// mask is a set of nodes for the kernel; bit 0 is node 0.
func mask(nodes []int) (bits uint64) {
	for _, n := range nodes {
		bits |= 1 << n
	}
	return bits
}

func mbind(start unsafe.Pointer, length uint64, mode int, nodes uint64) error {
	_, _, e := unix.Syscall6(unix.SYS_MBIND, uintptr(start), uintptr(length), uintptr(mode),
		uintptr(unsafe.Pointer(&nodes)), 64, mpolMFStrict|mpolMFMove)
	return errnoErr(e)
}

// setMempolicy sets the policy of the calling thread.
func setMempolicy(mode int, nodes uint64) error {
	var at, length uintptr
	if mode != mpolDefault {
		at, length = uintptr(unsafe.Pointer(&nodes)), 64
	}
	_, _, e := unix.Syscall(unix.SYS_SET_MEMPOLICY, uintptr(mode), at, length)
	return errnoErr(e)
}

// mempolicy returns the policy of the calling thread.
func mempolicy() (mode int, nodes uint64, err error) {
	var m int32
	_, _, e := unix.Syscall6(unix.SYS_GET_MEMPOLICY, uintptr(unsafe.Pointer(&m)), uintptr(unsafe.Pointer(&nodes)), 64, 0, 0, 0)
	return int(m), nodes, errnoErr(e)
}

// populate touches all pages of a range for writing.
func populate(start unsafe.Pointer, length uint64) error {
	for {
		_, _, e := unix.Syscall(unix.SYS_MADVISE, uintptr(start), uintptr(length), madvPopulateWrite)
		switch e {
		case unix.EINTR, unix.EAGAIN:
		case unix.EINVAL:
			return write(start, length) // as QEMU does where the kernel has no such advice
		default:
			return errnoErr(e)
		}
	}
}

// write writes to all pages of a range, one after the other, what they have. The signal that a page cannot be had is the
// error that the advice would return.
func write(start unsafe.Pointer, length uint64) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			err = unix.EFAULT
		}
	}()
	for at := uint64(0); at < length; at += pageBytes {
		atomic.AddInt32((*int32)(unsafe.Add(start, at)), 0)
	}
	return nil
}

func errnoErr(e unix.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

// serial is the port that the host listens to.
type serial struct {
	mu   sync.Mutex
	file *os.File
}

func openSerial(name string) (*serial, error) {
	file, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	t, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	if err != nil {
		return nil, err
	}
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ICANON
	return &serial{file: file}, unix.IoctlSetTermios(int(file.Fd()), unix.TCSETS, t)
}
