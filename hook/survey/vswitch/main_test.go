package vswitch

import (
	"os"
	"testing"

	"hugeguard/sysfs/sysfstest"
)

// TestMain keeps the hosts of the tests, which are trees of many small files, in memory.
func TestMain(m *testing.M) { os.Exit(sysfstest.InMemory(m.Run)) }
