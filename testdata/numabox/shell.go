package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// shell joins this terminal with a shell of the box's until that ends or somebody types ^].
func (b *box) shell() error {
	port, err := net.Dial("unix", b.Path("shell"))
	if err != nil {
		return err
	}
	defer port.Close()
	const stdin = 0
	before, err := unix.IoctlGetTermios(stdin, unix.TCGETS)
	if err != nil {
		return errors.New("a shell needs a terminal")
	}
	if _, err := b.Sh("mkdir -p /usr/lib/hugeguard; cp /opt/numabox/usr/bin/hugeguard /usr/bin; cp /opt/numabox/usr/lib/hugeguard/qemu /usr/lib/hugeguard; hugeguard install"); err != nil {
		return err
	}
	fmt.Println("hugeguard is installed; poweroff or ^] ends the box")
	raw := *before
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	if err := unix.IoctlSetTermios(stdin, unix.TCSETS, &raw); err != nil {
		return err
	}
	defer unix.IoctlSetTermios(stdin, unix.TCSETS, before)
	over := make(chan struct{}, 2)
	go func() {
		io.Copy(os.Stdout, port)
		over <- struct{}{}
	}()
	go func() {
		buffer := make([]byte, 1024)
		for {
			n, err := os.Stdin.Read(buffer)
			if err != nil || n == 1 && buffer[0] == ']'&0x1f {
				break
			}
			if _, err := port.Write(buffer[:n]); err != nil {
				break
			}
		}
		over <- struct{}{}
	}()
	port.Write([]byte("\n"))
	select {
	case <-over:
	case <-b.Ended:
	case <-b.Context.Done():
	}
	return nil
}
