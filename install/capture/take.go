package capture

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/hook/config"
	"hugeguard/hook/survey"
	"hugeguard/hook/survey/libvirt"
	"hugeguard/sysfs"
)

// taker collects what is read.
type taker struct {
	host sysfs.FS // not recorded

	sync.Mutex // of what follows: several readers are recorded at once
	reducer    *sysfs.Reducer
	files      map[string]file
	faults     map[string]error
}

// survey reads all that a verdict on any domain can ask for. What takes long and changes meanwhile comes last, so that
// all of it is of one moment.
func (t *taker) survey(ctx context.Context, o Options) (found guard.Host, domains int, err error) {
	rec := t.host.Recorded(t.record)
	mounts, err := rec.Mounts()
	if err != nil {
		return found, 0, err
	}
	conf, _ := config.Read(rec) // what is wrong with it will be seen again
	libvirt.Emulators(rec)
	libvirt.Read(rec).Releases("", guard.Machine{})
	partitions := partitionsOf(t.host, mounts.Cgroup)
	domains = t.domains(rec, partitions)
	t.limits(ctx, rec, partitions)
	err = ctx.Err()
	if err != nil {
		return found, 0, err
	}
	found, _, err = survey.Full(rec, survey.All, conf, time.Now().Add(o.Patience))
	return found, domains, cmp.Or(err, ctx.Err())
}

// domains reads the domains that run and those that are defined, adds their resource partitions, and returns how many
// there are.
func (t *taker) domains(rec sysfs.FS, partitions map[string]bool) (n int) {
	for _, dir := range []string{"run/libvirt/qemu/", "etc/libvirt/qemu/"} {
		names, _ := rec.ReadDir(dir) // no libvirt
		for _, name := range names {
			if !strings.HasSuffix(name, ".xml") {
				continue
			}
			n++
			_, err := rec.ReadFile(dir+name, maxXML)
			if err != nil {
				continue // which is noted
			}
			text, err := domain.Find(t.files[dir+name].data)
			if err != nil {
				continue
			}
			demand, err := domain.Parse(text)
			if err == nil {
				partitions[demand.Partition] = true
				libvirt.Read(rec).Releases(demand.Emulator, demand.Machine)
			}
		}
	}
	autostart, _ := rec.ReadDir("etc/libvirt/qemu/autostart")
	for _, name := range autostart {
		_, _ = rec.Readlink("etc/libvirt/qemu/autostart/" + name)
	}
	return n
}

// limits reads the limits of the partitions' control groups.
func (t *taker) limits(ctx context.Context, rec sysfs.FS, partitions map[string]bool) {
	for i, p := range slices.Sorted(maps.Keys(partitions)) {
		if i == maxGroups || ctx.Err() != nil {
			t.fault("control groups", fmt.Errorf("the resource partitions after %s: too many", guard.Printable(p, 80)))
			return
		}
		_, err := survey.Counters(rec, survey.In(p))
		if err != nil {
			t.fault("control groups of "+p, err)
		}
	}
}

func (t *taker) fault(name string, err error) {
	t.Lock()
	defer t.Unlock()
	t.faults[name] = err
}

// record takes in what was read. It is a [sysfs.Recorder].
func (t *taker) record(name string, e sysfs.Entry) {
	if name == "" {
		return // there is a root
	}
	t.Lock()
	defer t.Unlock()
	delete(t.faults, name)
	if len(name) > maxName || strings.Count(name, "/") >= maxDepth {
		t.faults[name] = fmt.Errorf("%s: %w", guard.Printable(name, 200), errDeep)
		return
	}
	if e.File && !e.Chosen && !t.reducer.Knows(name) {
		t.unreadable(name, fmt.Errorf("%s: %w", guard.Printable(name, 200), sysfs.ErrNoReader))
		return
	}
	old := t.files[name]
	switch {
	case e.Gone:
		delete(t.files, name)
	case e.Err != nil:
		t.unreadable(name, e.Err)
	case e.Dir:
		t.files[name] = file{dir: true}
	case e.Link != "":
		// Nobody asks for more than the name, and it leads nowhere.
		target := path.Base(strings.TrimSuffix(e.Link, " (deleted)"))
		if strings.Trim(target, "./") != "" {
			t.files[name] = file{link: target}
		}
	case e.Data != nil:
		t.keep(name, e, old.changed)
	case old.link == "":
		t.files[name] = file{data: old.data, changed: e.Changed}
	}
}

// keep takes what is kept of a file that was read.
func (t *taker) keep(name string, e sysfs.Entry, changed time.Time) {
	data, err := survey.Reduce(t.reducer, name, e)
	if err != nil {
		// The error may quote what is not to be taken.
		t.unreadable(name, fmt.Errorf("%s: %w", guard.Printable(name, 200), errOdd))
		return
	}
	if e.Cut {
		t.faults[name] = fmt.Errorf("%s: %w", guard.Printable(name, 200), errCut)
	}
	t.files[name] = file{data: data, changed: changed}
}

// unreadable notes a file that is there and of which nothing is known. It becomes a link to itself, which cannot be
// read either.
func (t *taker) unreadable(name string, err error) {
	t.files[name] = file{link: path.Base(name)}
	if pid, _ := sysfs.OfProcess(name); pid == 0 || !errors.Is(err, fs.ErrPermission) {
		t.faults[name] = err
	}
}

// Why a file is not in a capture, or not all of it.
var (
	errOdd  = errors.New("hugeguard cannot parse it, so the capture lacks it")
	errDeep = errors.New("its name is too long, so the capture lacks it")
	errCut  = errors.New("it is too long, so the capture has only its beginning")
)
