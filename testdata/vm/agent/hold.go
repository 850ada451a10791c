package main

import (
	"errors"
	"flag"
	"fmt"
	"math/bits"
	"os"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mpolBind is MPOL_BIND of linux/mempolicy.h.
const mpolBind = 2

// hold maps huge pages and touches some of them, says so on standard output and stays.
func hold(args []string) error {
	f := flag.NewFlagSet("hold", flag.ContinueOnError)
	file := f.String("file", "", "map this file of a hugetlbfs, not a memfd")
	anonymous := f.Bool("anonymous", false, "map no file at all")
	sysv := f.Bool("sysv", false, "map a segment of System V shared memory")
	adrift := f.Bool("adrift", false, "have the memfd nowhere but on its way through a socket, where nobody sees whose it is")
	leave := f.Bool("leave", false, "end, so that the file alone holds the pages")
	kib := f.Int("kib", 2048, "size of a page")
	pages := f.Int("pages", 0, "how many to map, which reserves them")
	touch := f.Int("touch", 0, "how many of these to touch, which takes them")
	node := f.Int("node", 0, "where to take them")
	if err := f.Parse(args); err != nil {
		return err
	}
	page := *kib << 10
	length := *pages * page
	var memory []byte
	var fd int
	var err error
	switch huge := pageFlag(*kib); {
	case *anonymous:
		memory, err = unix.Mmap(-1, 0, length, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_HUGETLB|huge)
	case *sysv:
		memory, err = segment(length, huge)
	default:
		fd, memory, err = mapFile(*file, length, huge)
	}
	if err != nil {
		return fmt.Errorf("%d pages: %w", *pages, err)
	}
	mask := uint64(1) << *node
	if _, _, errno := unix.Syscall6(unix.SYS_MBIND, uintptr(unsafe.Pointer(&memory[0])), uintptr(length), mpolBind,
		uintptr(unsafe.Pointer(&mask)), 64, 0); errno != 0 {
		return fmt.Errorf("mbind: %w", errno)
	}
	for i := range *touch {
		memory[i*page] = 1
	}
	if *adrift {
		if err := setAdrift(fd, memory); err != nil {
			return err
		}
	}
	fmt.Println(strings.Join(os.Args, " "))
	if *leave {
		os.Exit(0)
	}
	for {
		time.Sleep(time.Hour)
	}
}

// pageFlag is the size of a page as mmap(2), memfd_create(2) and shmget(2) want it: its power of two, shifted.
func pageFlag(kib int) int {
	const shift = 26 // HUGETLB_FLAG_ENCODE_SHIFT
	return (bits.Len(uint(kib)) + 9) << shift
}

// setAdrift sends a file that is mapped to a socket of this process's that never receives it, and has it nowhere else.
func setAdrift(fd int, memory []byte) error {
	sockets, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		return fmt.Errorf("socketpair: %w", err)
	}
	return errors.Join(unix.Sendmsg(sockets[0], []byte{0}, unix.UnixRights(fd), nil, 0), unix.Munmap(memory), unix.Close(fd))
}

// mapFile opens and maps a file of a hugetlbfs, a memfd where it has no name.
func mapFile(name string, length, huge int) (int, []byte, error) {
	fd, err := unix.Open(name, unix.O_CREAT|unix.O_RDWR, 0o600)
	if name == "" {
		fd, err = unix.MemfdCreate("pool", unix.MFD_HUGETLB|huge)
	}
	if err != nil {
		return 0, nil, fmt.Errorf("open: %w", err)
	}
	if err := unix.Ftruncate(fd, int64(length)); err != nil {
		return 0, nil, fmt.Errorf("ftruncate: %w", err)
	}
	memory, err := unix.Mmap(fd, 0, length, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return 0, nil, fmt.Errorf("mmap: %w", err)
	}
	return fd, memory, nil
}

// segment maps a segment of shared memory that goes with the last who maps it.
func segment(length, huge int) ([]byte, error) {
	const shmHugetlb = 0o4000 // SHM_HUGETLB of linux/shm.h
	id, err := unix.SysvShmGet(unix.IPC_PRIVATE, length, unix.IPC_CREAT|0o600|shmHugetlb|huge)
	if err != nil {
		return nil, fmt.Errorf("shmget: %w", err)
	}
	memory, err := unix.SysvShmAttach(id, 0, 0)
	if err != nil {
		return nil, fmt.Errorf("shmat: %w", err)
	}
	if _, err := unix.SysvShmCtl(id, unix.IPC_RMID, nil); err != nil {
		return nil, fmt.Errorf("shmctl: %w", err)
	}
	return memory, nil
}
