package place

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"hugeguard/hook/config"
	"hugeguard/sysfs"
)

// lastCalls is how long a call of the hook is waited for beyond what its settings let it take.
var lastCalls = 5 * time.Second

// longestCall is how long a call of the hook can take at the most, by its settings. What a site's hook takes, which it may
// be waiting for, nobody knows.
func (t tree) longestCall() time.Duration {
	conf, _ := config.Read(sysfs.New(t.root)) // what cannot be read keeps its default
	return conf.Deadline + conf.WaitForStarting + lastCalls
}

// untilUnused waits until no process runs the program in the file fi, for longestCall at most.
func (j *job) untilUnused(ctx context.Context, fi fs.FileInfo) {
	end := time.Now().Add(j.longestCall())
	for j.daemons().Runs(fi) && time.Now().Before(end) && ctx.Err() == nil {
		time.Sleep(20 * time.Millisecond)
	}
}

// lastHooks is how long a start is waited for of which libvirt runs the hooks. Those of a site may take their time, to
// make huge pages, and on a host that starts guests without end there may be no moment without a start.
var lastHooks = time.Minute

// untilNoHooks waits until no libvirt daemon runs a hook for a guest, for lastHooks at most.
func (j *job) untilNoHooks(ctx context.Context) error {
	// Between two hooks of a start there is none for a moment.
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
			fmt.Fprintf(j.Out, "a guest is being started: waiting until its hooks have ended, for %v at most\n", lastHooks)
		}
		if err := ctx.Err(); err != nil || !time.Now().Before(end) {
			return err
		}
		idle = 0
	}
}

// runsHooks reports whether a daemon runs what libvirt finds in the tree: qemu, qemu.site, or what lies in qemu.d.
func (t tree) runsHooks() bool { return t.daemons().RunsHooks(t.root + mainHook) }
