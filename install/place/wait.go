package place

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"hugeguard/hook/config"
	"hugeguard/sysfs"
)

// lastCalls is how long install waits for a call of the hook beyond what its settings allow.
var lastCalls = 5 * time.Second

// longestCall returns how long a call of the hook can take by its settings. How long the site's hook takes, which the
// call may be waiting for, is unknown.
func (t tree) longestCall() time.Duration {
	conf, _ := config.Read(sysfs.New(t.root)) // a setting that cannot be read has its default
	return conf.Deadline + conf.WaitForStarting + lastCalls
}

// untilUnused waits until no process runs the program in the file fi, for longestCall at most.
func (j *job) untilUnused(ctx context.Context, fi fs.FileInfo) {
	end := time.Now().Add(j.longestCall())
	for j.daemons().Runs(fi) && time.Now().Before(end) && ctx.Err() == nil {
		time.Sleep(20 * time.Millisecond)
	}
}

// lastHooks is how long install waits until libvirt runs no hook. The site's hooks may take their time, to make huge
// pages, and a busy host may start one guest after the other.
var lastHooks = time.Minute

// untilNoHooks waits until no libvirt daemon runs a hook for a guest, for lastHooks at most.
func (j *job) untilNoHooks(ctx context.Context) error {
	// Between two hooks of one start there is a moment without any.
	const looks = 3
	end := time.Now().Add(lastHooks)
	waits := false
	for idle := 0; ; time.Sleep(5 * time.Millisecond) {
		if !j.runsHooks() {
			idle++
			if idle == looks {
				return nil
			}
			continue
		}
		if !waits {
			waits = true
			fmt.Fprintf(j.Out, "libvirt runs hooks for a start: waiting for them, at most %v\n", lastHooks)
		}
		if err := ctx.Err(); err != nil || !time.Now().Before(end) {
			return err
		}
		idle = 0
	}
}

// runsHooks reports whether a daemon runs a hook of the tree: qemu, qemu.site, or a file in qemu.d.
func (t tree) runsHooks() bool { return t.daemons().RunsHooks(t.root + mainHook) }
