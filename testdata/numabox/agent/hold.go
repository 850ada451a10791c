package main

import (
	"flag"
	"fmt"
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
	leave := f.Bool("leave", false, "end, so that the file alone holds the pages")
	kib := f.Int("kib", 2048, "size of a page")
	pages := f.Int("pages", 0, "how many to map, which reserves them")
	touch := f.Int("touch", 0, "how many of these to touch, which takes them")
	node := f.Int("node", 0, "where to take them")
	if err := f.Parse(args); err != nil {
		return err
	}
	fd, err := unix.Open(*file, unix.O_CREAT|unix.O_RDWR, 0o600)
	if *file == "" {
		size := unix.MFD_HUGE_2MB
		if *kib == 1<<20 {
			size = unix.MFD_HUGE_1GB
		}
		fd, err = unix.MemfdCreate("pool", unix.MFD_HUGETLB|size)
	}
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	page := *kib << 10
	length := *pages * page
	if err := unix.Ftruncate(fd, int64(length)); err != nil {
		return fmt.Errorf("ftruncate: %w", err)
	}
	memory, err := unix.Mmap(fd, 0, length, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mmap of %d pages: %w", *pages, err)
	}
	mask := uint64(1) << *node
	if _, _, errno := unix.Syscall6(unix.SYS_MBIND, uintptr(unsafe.Pointer(&memory[0])), uintptr(length), mpolBind,
		uintptr(unsafe.Pointer(&mask)), 64, 0); errno != 0 {
		return fmt.Errorf("mbind: %w", errno)
	}
	for i := range *touch {
		memory[i*page] = 1
	}
	fmt.Println(strings.Join(os.Args, " "))
	if *leave {
		os.Exit(0)
	}
	for {
		time.Sleep(time.Hour)
	}
}
