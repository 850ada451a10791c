//go:build !manual

// Hugeguard is the admin's command: it installs and removes the hook, and shows beforehand what the hook would say.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// The signals stay caught: one that comes when all is done does not change the exit status.
	interrupted, _ := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	os.Exit(Run(interrupted, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
