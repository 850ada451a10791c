//go:build !libvirt_dlopen

package main

import (
	"fmt"

	"hugeguard/install/proof"
)

// connectDaemon returns an error: this program cannot ask a daemon.
func connectDaemon(string) (proof.Libvirt, error) {
	return nil, fmt.Errorf("%w: this hugeguard was built without libvirt's library (build it with cgo and -tags libvirt_dlopen); hugeguard status shows what it can see without it", proof.ErrNoLibrary)
}
