//go:build !libvirt_dlopen

package main

// connectLibvirt returns none: this program is built without libvirt's library.
func connectLibvirt() (domains, error) { return nil, nil }
