// Command qemu is the program that libvirtd runs as its qemu hook. Everything it does is in package hook.
//
//go:debug updatemaxprocs=0
package main

import (
	"os"

	"hugeguard/hook"
)

func main() {
	os.Exit(hook.Run(os.Args, os.Stdin, os.Stderr))
}
