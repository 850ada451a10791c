//go:build !modular

package livehost

// The tier plays libvirt's monolithic daemon; with the build tag modular it plays the modular one.
const (
	daemonName    = "libvirtd"
	daemonSocket  = "libvirt-sock"
	daemonPackage = "libvirt-daemon"
)
