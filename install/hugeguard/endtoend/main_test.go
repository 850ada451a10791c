// Package endtoend has the tests of the command as it is installed: on a terminal, in scripts, interrupted, and with
// input of a size for which the race detector would take its time.
package endtoend

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"hugeguard/install/installtest"
	"hugeguard/sysfs/sysfstest"
)

// The exit statuses.
const (
	exitOK      = 0
	exitError   = 1
	exitUsage   = 2
	exitNotLive = 4
)

const incident = "../../../testdata/hosts/plain/host"

// The command is built once, without the race detector, and is the first in PATH.
func TestMain(m *testing.M) {
	os.Exit(sysfstest.InMemory(func() int {
		return installtest.WithCommand(func(dir string) int {
			testDir = dir
			return m.Run()
		})
	}))
}

var (
	testDir string // gone when the tests end
	// hookPrograms are two versions of the hook program, and another program.
	hookPrograms = sync.OnceValue(func() (p struct {
		v1, v2, other string
		err           error
	}) {
		p.v1, p.v2, p.other, p.err = installtest.Programs(filepath.Join(testDir, "hooks"))
		return p
	})
)
