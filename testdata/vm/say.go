// Package vm builds and runs the virtual machines of the tests: Debian's kernel, systemd, journald, AppArmor, libvirt,
// QEMU and Open vSwitch with DPDK in a QEMU under software emulation. Nothing in it is simulated but the CPUs.
package vm

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// began is when the run began, for the progress lines.
var began = time.Now()

// said is what was said last, and when.
var said struct {
	sync.Mutex
	what string
	when time.Time
}

// Say prints a line of progress, with the seconds since the run began.
func Say(format string, args ...any) {
	said.Lock()
	defer said.Unlock()
	said.what, said.when = fmt.Sprintf(format, args...), time.Now()
	fmt.Printf("%5.0fs  %s\n", time.Since(began).Seconds(), said.what)
}

// Tick says what is still being done when nothing was said for a while, until the context ends.
func Tick(ctx context.Context) {
	ticks := time.Tick(5 * time.Second)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks:
		}
		said.Lock()
		if time.Since(said.when) > 30*time.Second {
			said.when = time.Now()
			fmt.Printf("%5.0fs  ... %s\n", time.Since(began).Seconds(), said.what)
		}
		said.Unlock()
	}
}
