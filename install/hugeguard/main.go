//go:build !manual

// Hugeguard is the admin's command: it puts the hook in place and takes it away, and says beforehand what
// the hook would say.
package main

import "os"

func main() {
	os.Exit(Run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
