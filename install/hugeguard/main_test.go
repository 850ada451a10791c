package main

import (
	"os"
	"testing"
	"time"

	"hugeguard/install/daemon"
	"hugeguard/install/installtest"
	"hugeguard/sysfs/sysfstest"
)

const incident = "../../testdata/hosts/plain/host"

// The documentation shows what the command says as it is installed.
func TestMain(m *testing.M) {
	// No test depends on how fast the machine is.
	for _, limit := range []*time.Duration{&holdersDeadline, &countPatience, &daemon.DialPatience} {
		*limit = time.Hour
	}
	os.Exit(sysfstest.InMemory(func() int {
		return installtest.WithCommand(func(string) int { return m.Run() })
	}))
}
