// Package nova proves what hugeguard knows of Nova by Nova's own code: that
// guard/nova reads a configuration as oslo.config and nova-compute do, and that
// the lines which "hugeguard reserve" prints send the incident's next instance
// to the node where it fits. It needs Debian's python3-nova:
//
//	go test -count=1 ./testdata/nova
package nova
