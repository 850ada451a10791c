//go:build !manual

// Hugeguard is the admin's command: it puts the hook in place and takes it away, and says beforehand what
// the hook would say.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// Nothing stops this: a signal that comes when all is done does not change the exit status.
	interrupted, _ := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	os.Exit(Run(interrupted, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
