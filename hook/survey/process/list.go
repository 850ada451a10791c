package process

import (
	"cmp"
	"runtime"
	"slices"
	"time"

	"hugeguard/sysfs"
)

// List returns the processes that have memory, those with the most huge pages first, should there be no time for all:
// cut says that there was none. The kernel takes its time for each, so they are read side by side.
func List(root sysfs.FS, deadline time.Time) (list []sysfs.Process, cut bool, err error) {
	pids, err := root.Processes()
	if err != nil {
		return nil, false, err
	}
	list, cut = SideBySide(pids, deadline, func(pid int) (sysfs.Process, bool) { return withMemory(root, pid) })
	slices.SortFunc(list, func(a, b sysfs.Process) int {
		return cmp.Or(cmp.Compare(b.HugetlbKiB, a.HugetlbKiB), cmp.Compare(a.PID, b.PID))
	})
	// A captured host lists the threads that stand for a process as well.
	return slices.CompactFunc(list, func(a, b sysfs.Process) bool { return a.PID == b.PID }), cut, nil
}

// withMemory returns a process that has memory, if it has not ended. Where its first thread has ended, another that
// still has the memory stands for it: an example is a QEMU that was killed and whose virtual CPU hangs in the kernel.
func withMemory(root sysfs.FS, pid int) (p sysfs.Process, ok bool) {
	p, err := root.Process(pid)
	if err != nil || !p.Headless {
		return p, err == nil && p.Memory
	}
	threads, _ := root.Threads(pid) // none: it has ended
	for _, id := range threads {
		p, err := root.Process(id)
		if err == nil && p.Memory {
			return p, true
		}
	}
	return p, false
}

// SideBySide asks about each of a list until the deadline, and returns the answers that are any, in no order. cut says
// that not all were asked.
func SideBySide[In, Out any](list []In, deadline time.Time, ask func(In) (Out, bool)) (answers []Out, cut bool) {
	type part struct {
		answers []Out
		cut     bool
	}
	parts := make(chan part)
	workers := min(runtime.GOMAXPROCS(0), 8)
	for w := range workers {
		go func() {
			p := part{cut: true}
			defer func() {
				// A panic here would end the hook, and with it the launch.
				recover()
				parts <- p
			}()
			for i := w; i < len(list); i += workers {
				if time.Now().After(deadline) {
					return
				}
				if answer, ok := ask(list[i]); ok {
					p.answers = append(p.answers, answer)
				}
			}
			p.cut = false
		}()
	}
	for range workers {
		p := <-parts
		answers = append(answers, p.answers...)
		cut = cut || p.cut
	}
	return answers, cut
}
