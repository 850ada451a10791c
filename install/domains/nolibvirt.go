//go:build !libvirt_dlopen

package domains

// connectLibvirt returns none: this program is built without libvirt's library.
func connectLibvirt() (Known, error) { return nil, nil }
