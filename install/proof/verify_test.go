package proof

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/fix"
	"hugeguard/guard/words"
	"hugeguard/hook/config"
	"hugeguard/install/daemon"
	"hugeguard/install/installtest"
	"hugeguard/install/journal"
	"hugeguard/install/place"
	"hugeguard/sysfs/sysfstest"
)

const capabilities = `<domainCapabilities><path>/usr/bin/qemu-system-x86_64</path><domain>kvm</domain><machine>pc-i440fx-7.2</machine><arch>x86_64</arch>
  <vcpu max='255'/><os supported='yes'><enum name='firmware'/></os></domainCapabilities>`

// A fakeLibvirt starts nothing, and says why.
type fakeLibvirt struct {
	capabilities string
	xml          string // what it was to start
	started      bool
	err          error
}

func (f *fakeLibvirt) DomainCapabilities() (string, error) {
	if f.capabilities == "" {
		return "", errors.New("no emulator\x1b")
	}
	return f.capabilities, nil
}

func (f *fakeLibvirt) Start(xml string) (bool, error) {
	f.xml = xml
	return f.started, f.err
}

func (f *fakeLibvirt) Close() {}

func TestMain(m *testing.M) {
	// No test depends on how fast the machine is: none of these is to pass unless a test sets another.
	for _, limit := range []*time.Duration{&patience, &lastStart, &entryPatience} {
		*limit = time.Hour
	}
	openJournal = func() (journal.Journal, error) { return journal.Journal{}, fs.ErrNotExist } // not the machine's
	os.Exit(sysfstest.InMemory(m.Run))
}

func incidentHost(t *testing.T) sysfstest.Host {
	t.Helper()
	h := sysfstest.Copy(t, "../../testdata/hosts/plain/host")
	h.Write("proc/uptime", "5000.00 9000.00\n")
	return h
}

// The canary is a domain that the guard refuses, whatever there is; it names itself, has nothing that would have to be
// made or taken away, and is another each time.
func TestCanary(t *testing.T) {
	h := incidentHost(t)
	c, err := newCanary(h.FS(), config.Config{}, capabilities)
	if err != nil {
		t.Fatal(err)
	}
	demand, err := domain.Parse([]byte(c.xml))
	if err != nil {
		t.Fatal(err)
	}
	if !demand.Canary || demand.Exempt != "" || demand.Domain != c.Domain || !strings.HasPrefix(c.Name, "hugeguard-verify-") || len(c.Name) != len("hugeguard-verify-")+12 ||
		len(demand.Backends) != 1 || demand.Backends[0].Bytes != 4<<50 || demand.Backends[0].PageKiB != 2048 || demand.Emulator != "/usr/bin/qemu-system-x86_64" {
		t.Errorf("%+v", demand)
	}
	if c.verdict.Decision != guard.Refuse || len(c.verdict.Fixes) > 0 || words.Fields(c.verdict)["HUGEGUARD_CANARY"] != "1" {
		t.Errorf("%+v", c.verdict)
	}
	var groups [5]string
	if copy(groups[:], strings.Split(c.UUID, "-")); len(c.UUID) != 36 || groups[2][0] != '4' || !strings.Contains("89ab", groups[3][:1]) {
		t.Errorf("UUID %s", c.UUID)
	}
	for _, part := range []string{"<disk", "<interface", "<graphics", "<nvram", "<loader", "<tpm", "<channel", "<filesystem"} {
		if strings.Contains(c.xml, part) {
			t.Errorf("it has %s", part)
		}
	}
	other, err := newCanary(h.FS(), config.Config{Exempt: []string{"hugeguard-*"}}, strings.ReplaceAll(capabilities, "qemu-system-x86_64", "a&lt;b'"))
	if err != nil || other.Name == c.Name || other.UUID == c.UUID || other.verdict.Exempt != "pattern hugeguard-*" || other.verdict.Decision != guard.Refuse {
		t.Errorf("%+v, %v", other, err)
	}
	var d struct {
		Emulator string `xml:"devices>emulator"`
	}
	if err := xml.Unmarshal([]byte(other.xml), &d); err != nil || d.Emulator != "/usr/bin/a<b'" {
		t.Errorf("%q, %v", d.Emulator, err)
	}
}

// What overcommit allows is less than what the canary asks for, or there is none.
func TestCanaryPages(t *testing.T) {
	mounts := []guard.Mount{{PageKiB: 2048}, {PageKiB: 1 << 20}}
	for _, c := range []struct {
		name   string
		mounts []guard.Mount
		pools  []guard.SizePool
		page   uint64
		bytes  uint64
	}{
		{"the smallest", mounts, []guard.SizePool{{PageKiB: 2048}, {PageKiB: 1 << 20}}, 2048, 4 << 50},
		{"one that is mounted", mounts[1:], []guard.SizePool{{PageKiB: 2048}, {PageKiB: 1 << 20}}, 1 << 20, 4 << 50},
		{"one without overcommit", mounts, []guard.SizePool{{PageKiB: 2048, Overcommit: 1}, {PageKiB: 1 << 20}}, 1 << 20, 4 << 50},
		{"all with overcommit", mounts[:1], []guard.SizePool{{PageKiB: 2048, Overcommit: 100}}, 2048, 4 << 50},
		{"much overcommit", mounts[:1], []guard.SizePool{{PageKiB: 2048, Overcommit: 1 << 40}}, 2048, 1 << 62},
		{"as much as it asks for", mounts[:1], []guard.SizePool{{PageKiB: 2048, Overcommit: 1 << 31}}, 2048, 8 << 50},
		{"none", nil, []guard.SizePool{{PageKiB: 2048}}, 0, 0},
	} {
		page, bytes, err := canaryPages(guard.Host{Mounts: c.mounts, Pools: c.pools})
		if page != c.page || bytes != c.bytes || (err == nil) != (c.page != 0) {
			t.Errorf("%s: %d KiB, %d bytes, %v", c.name, page, bytes, err)
		}
	}
	// More than any domain can ask for.
	h := incidentHost(t)
	for _, size := range []string{"2048", "1048576"} {
		h.Write("sys/kernel/mm/hugepages/hugepages-"+size+"kB/nr_overcommit_hugepages", "18446744073709551615\n")
	}
	if _, err := newCanary(h.FS(), config.Config{}, capabilities); err == nil || !strings.Contains(err.Error(), "hugeguard would not surely refuse a domain of ") {
		t.Errorf("%v", err)
	}
	for _, caps := range []string{"", "<domainCapabilities/>", "<a"} {
		if _, err := newCanary(incidentHost(t).FS(), config.Config{}, caps); err == nil || !strings.Contains(err.Error(), "libvirt names no emulator") {
			t.Errorf("%q: %v", caps, err)
		}
	}
}

const (
	hookFailed = "Hook script execution failed: internal error: Child process (/etc/libvirt/hooks/qemu x prepare begin -) unexpected exit status "
	qemuDied   = "internal error: process exited while connecting to monitor: qemu-system-x86_64: unable to map backing store for guest RAM: Cannot allocate memory"
)

// What an answer proves, and where it proves nothing why.
func TestProof(t *testing.T) {
	ours := &StartError{Hook: true, Message: hookFailed + "1: node 0 has too few 2M pages: 0 of 1 free, 2 needed (4 MiB); more: hugeguard explain x\n"}
	died := &StartError{Message: qemuDied}
	refused, would, fault := journal.Refusal{Decision: "refuse", Summary: "it is full"}, journal.Refusal{Decision: "refuse", Would: true, Summary: "it is full"}, journal.Refusal{Summary: "hugeguard could not judge"}
	asked := daemon.Process{Name: "virtqemud", PID: 77}
	fine := place.State{Installed: true, Live: true, Path: "/etc/libvirt/hooks/qemu", Daemons: []place.Daemon{{Name: "virtqemud", PID: 77, Knows: true}}}
	confined := fine
	confined.Daemons = []place.Daemon{{Name: "virtqemud", PID: 77, Knows: true, Confined: "virtqemud (enforce)"}}
	labelled := confined
	labelled.Daemons = []place.Daemon{{Name: "virtqemud", PID: 77, Confined: "system_u:system_r:virtqemud_t:s0"}}
	labelled.Label, labelled.PolicyLabel = "unconfined_u:object_r:user_tmp_t:s0", "system_u:object_r:virt_hook_t:s0"
	byPolicy := labelled
	byPolicy.Label = labelled.PolicyLabel
	denied := byPolicy
	denied.Denied, denied.Why = "SELinux denies it", []string{"SELinux denies it"}
	warn := config.Config{Mode: config.WarnOnly}
	exempt := fix.Verdict{Verdict: guard.Verdict{Exempt: "pattern *"}}
	for name, c := range map[string]struct {
		answer   answer
		config   config.Config
		verdict  fix.Verdict
		st       place.State
		live     bool
		refused  bool
		told     string
		why, err string // each has to be there, between |
	}{
		"our refusal":              {answer: answer{err: ours}, live: true, refused: true},
		"with its entry":           {answer: answer{err: ours, entries: []journal.Refusal{refused}}, live: true, refused: true},
		"by its entry alone":       {answer: answer{err: &StartError{Hook: true, Message: hookFailed + "3: other"}, entries: []journal.Refusal{refused}}, live: true, refused: true},
		"without a journal":        {answer: answer{err: ours, journalErr: errors.New("none")}, live: true, refused: true},
		"told to warn":             {answer: answer{err: died, entries: []journal.Refusal{would}}, config: warn, live: true, told: "mode = warn"},
		"exempt":                   {answer: answer{err: died, entries: []journal.Refusal{would}}, verdict: exempt, live: true, told: "exempt by pattern *"},
		"told to warn meanwhile":   {answer: answer{err: died, entries: []journal.Refusal{would}}, live: true, told: "its configuration has just changed"},
		"it cannot judge":          {answer: answer{err: died, entries: []journal.Refusal{fault}}, why: "libvirt calls the hook, but the hook could not judge"},
		"a wrong line, and judged": {answer: answer{err: died, entries: []journal.Refusal{{Summary: "noted"}, would}}, config: warn, live: true, told: "mode = warn"},
		"it cannot judge, closed":  {answer: answer{err: &StartError{Hook: true, Message: hookFailed + "1: hugeguard could not judge"}, entries: []journal.Refusal{fault}}, why: "libvirt calls the hook, but the hook could not judge"},
		"another's refusal":        {answer: answer{err: &StartError{Hook: true, Message: hookFailed + "3: other"}}, st: fine, why: "a hook failed, but not with hugeguard's refusal: it may keep guests from starting\n|may not have looked for hooks"},
		"or ours, not known":       {answer: answer{err: &StartError{Hook: true, Message: hookFailed + "3: other"}, journalErr: journal.ErrHidden}, st: fine, why: "it may keep guests from starting. hugeguard does not know whether its own hook was called (the system's journal may not be read"},
		"it cannot be run":         {answer: answer{err: &StartError{Hook: true, Message: hookFailed + "126: Permission denied"}, denials: []string{"apparmor=DENIED"}}, st: confined, why: "a hook failed|denied meanwhile: apparmor=DENIED|AppArmor confines virtqemud (virtqemud (enforce))"},
		"nobody called it":         {answer: answer{err: died}, st: fine, why: "QEMU ran for a domain|the files are in place, but virtqemud (pid 77) may not have looked for hooks since then: kill -HUP 77"},
		"in another language":      {answer: answer{err: &StartError{Message: "Interner Fehler: Prozess beendet:\n2026-01-01T00:00:00.0Z qemu-system-x86_64: unable to map backing store"}}, st: fine, why: "QEMU ran for a domain"},
		"and nothing else":         {answer: answer{err: &StartError{Message: "Prozess beendet: \nqemu-system-x86_64: cannot"}}, st: fine, why: "QEMU ran for a domain"},
		"an unfit emulator":        {answer: answer{err: &StartError{Message: "cannot monitor /usr/bin/qemu-system-x86_64: No such file or directory"}}, err: "for an unrelated reason"},
		"by its log":               {answer: answer{err: &StartError{Message: "cannot"}, log: true}, st: fine, why: "QEMU ran for a domain"},
		"not installed":            {answer: answer{err: died}, st: place.State{Why: []string{"the hook is not installed: hugeguard install"}}, why: "QEMU ran for a domain|the hook is not installed: hugeguard install"},
		"SELinux":                  {answer: answer{err: died}, st: labelled, why: "SELinux confines virtqemud (system_u:system_r:virtqemud_t:s0), and the hook is unconfined_u:object_r:user_tmp_t:s0, not system_u:object_r:virt_hook_t:s0: restorecon -v /etc/libvirt/hooks/qemu"},
		"labelled by the policy":   {answer: answer{err: died}, st: byPolicy, why: "the hook is system_u:object_r:virt_hook_t:s0: look in ausearch -m avc -ts recent"},
		"the kernel denies it":     {answer: answer{err: died}, st: denied, why: "QEMU ran for a domain that cannot fit: libvirt did not call the hook, or ignored it\nSELinux denies it"},
		"it started":               {answer: answer{started: true}, st: fine, why: "QEMU ran|the domain started, although no host has room for it; it was destroyed"},
		"started, told to warn":    {answer: answer{started: true, entries: []journal.Refusal{would}}, config: warn, live: true, told: "mode = warn", why: "the domain started"},
		"for another reason":       {answer: answer{err: &StartError{Message: "unsupported\x1b configuration"}}, err: `libvirt failed to start x for an unrelated reason|unsupported\x1b configuration`},
		"warn without a journal":   {answer: answer{err: died, journalErr: journal.ErrHidden}, config: warn, err: "set to refuse nothing, and the journal does not tell whether it was called"},
		"exempt without a journal": {answer: answer{err: died, journalErr: journal.ErrHidden}, verdict: exempt, err: "set to refuse nothing, and the journal does not tell whether it was called"},
	} {
		if c.config.Mode == "" {
			c.config.Mode = config.Enforce
		}
		p, err := c.answer.proves(Result{}, canary{Domain: guard.Domain{Name: "x"}, emulator: "/usr/bin/qemu-system-x86_64", verdict: c.verdict}, c.config, c.st, asked)
		if c.err != "" {
			for _, part := range strings.Split(c.err, "|") {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("%s: error %v, want %q", name, err, part)
				}
			}
			continue
		}
		if err != nil || p.Live != c.live || p.Refused != c.refused || p.Told != c.told || (c.why == "") != (len(p.Why) == 0) || strings.ContainsAny(p.Libvirt, "\n\x1b") {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
		for _, part := range strings.Split(c.why, "|") {
			if !strings.Contains(strings.Join(p.Why, "\n")+"\n", part) {
				t.Errorf("%s: %q, want %q", name, p.Why, part)
			}
		}
	}
}

// verify asks for a canary of this host, and hears what is said of exactly that one.
func TestVerifyAsks(t *testing.T) {
	h := incidentHost(t)
	fake, seen := installtest.Journalctl(t, strings.Replace(installtest.Refusal, `"node 0`, `"would refuse: node 0`, 1)+"\n", "", "")
	before := openJournal
	openJournal = func() (journal.Journal, error) { return journal.Journal{Program: fake, Patience: time.Hour}, nil }
	t.Cleanup(func() { openJournal = before })
	v := newVerifier(place.Options{Root: h.Path("")})
	v.config = config.Config{Mode: config.WarnOnly}
	ask := func(f *fakeLibvirt) (Result, error) {
		return v.one(context.Background(), f, daemon.Process{Name: "libvirtd", PID: 7})
	}
	f := &fakeLibvirt{capabilities: capabilities, err: &StartError{Message: qemuDied}}
	p, err := ask(f)
	if err != nil || !p.Live || p.Told != "mode = warn" || p.Daemon != "libvirtd" || p.PID != 7 || p.Summary != "node 0 is full" || !strings.Contains(f.xml, "<name>"+p.Canary.Name+"</name>") {
		t.Errorf("%+v, %v", p, err)
	}
	text, err := os.ReadFile(seen)
	if err != nil || !strings.Contains(string(text), "HUGEGUARD_DOMAIN="+p.Canary.Name+"\n") {
		t.Errorf("%s, %v", text, err)
	}
	if _, err := ask(&fakeLibvirt{}); err == nil || err.Error() != `libvirt has no emulator to start a domain with: no emulator\x1b` {
		t.Errorf("%v", err)
	}
	h.Remove("proc/meminfo")
	f = &fakeLibvirt{capabilities: capabilities}
	if _, err := ask(f); err == nil || !strings.Contains(err.Error(), "meminfo") || f.xml != "" {
		t.Errorf("%v; started %q", err, f.xml)
	}
}

// A daemon that does not answer is not waited for, whatever it was asked, and its connection is left alone then.
func TestVerifyHung(t *testing.T) {
	h := incidentHost(t)
	limit := patience
	t.Cleanup(func() { patience = limit })
	for _, c := range []struct {
		name       string
		before, at int // the call that does not end, and the one before it
		want       string
	}{
		{"at once", -1, 0, "libvirt did not answer qemu:///system within "},
		{"asked for what it can", 0, 1, "libvirt did not answer the question which domains it can start within "},
		{"at the end", 1, 3, "no emulator"},
	} {
		patience = limit
		hung := &hungLibvirt{before: c.before, at: c.at}
		hung.call(-1)
		connect := func(string) (Libvirt, error) { hung.call(0); return hung, nil }
		if proofs, err := newVerifier(place.Options{Root: h.Path("")}).all(context.Background(), connect); err == nil || !strings.Contains(err.Error(), c.want) || len(proofs) > 0 {
			t.Errorf("%s: %v, %v", c.name, proofs, err)
		} else if is := errors.As(err, new(*silence)); is != (c.at < 3) || is && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %#v", c.name, err)
		} else if is && hung.closed {
			t.Errorf("%s: its connection was closed under it", c.name)
		}
	}
	patience = time.Millisecond
	if _, err := start(context.Background(), &hungLibvirt{at: 2}, canary{Domain: guard.Domain{Name: "x"}}); err == nil || !strings.Contains(err.Error(), "did not answer the start of x") {
		t.Errorf("%v", err)
	}
}

// hungLibvirt has one call that does not end. It ends the caller's patience with the one before.
type hungLibvirt struct {
	before, at int
	closed     bool
}

func (h *hungLibvirt) call(n int) {
	switch n {
	case h.before:
		patience = time.Millisecond
	case h.at:
		select {}
	}
}

func (h *hungLibvirt) DomainCapabilities() (string, error) {
	h.call(1)
	return "", errors.New("no emulator")
}

func (h *hungLibvirt) Start(string) (bool, error) { h.call(2); return false, nil }
func (h *hungLibvirt) Close()                     { h.closed = true; h.call(3) }

// Where a guest without a label may not be, the canary is asked for with one, once.
func TestVerifyConfined(t *testing.T) {
	c, err := newCanary(incidentHost(t).FS(), config.Config{}, capabilities)
	if err != nil {
		t.Fatal(err)
	}
	unconfined := &StartError{Unsupported: true, Message: "unsupported configuration: Unconfined guests are not allowed on this host"}
	ours := &StartError{Hook: true, Message: hookFailed + "1: node 0 has too few 2M pages; more: hugeguard explain x"}
	for name, c2 := range map[string]struct {
		errs []error // of each start
		live bool
	}{
		"no need":         {errs: []error{ours}, live: true},
		"with a label":    {errs: []error{unconfined, ours}, live: true},
		"neither, at all": {errs: []error{unconfined, unconfined}},
	} {
		f := &confinedLibvirt{errs: c2.errs}
		a, err := start(context.Background(), f, c)
		if err != nil || a.refusal() != c2.live || len(f.errs) > 0 || !strings.Contains(f.xml[0], "seclabel") {
			t.Errorf("%s: %+v, %v; asked for\n%s", name, a, err, f.xml)
		}
		if len(f.xml) == 2 {
			demand, err := domain.Parse([]byte(f.xml[1]))
			if err != nil || strings.Contains(f.xml[1], "seclabel") || !demand.Canary || demand.Domain != c.Domain {
				t.Errorf("%s: %+v, %v of\n%s", name, demand, err, f.xml[1])
			}
		}
	}
}

// confinedLibvirt gives each start an error.
type confinedLibvirt struct {
	fakeLibvirt
	errs []error
	xml  []string
}

func (f *confinedLibvirt) Start(xml string) (bool, error) {
	err := f.errs[0]
	f.errs, f.xml = f.errs[1:], append(f.xml, xml)
	return false, err
}

// Who is stopped while a canary starts lets it end, and leaves nothing of it.
func TestVerifyStopped(t *testing.T) {
	h := incidentHost(t)
	// One folder of the host's is the daemon's too, the other it has for itself.
	own := t.TempDir()
	for _, dir := range []string{h.Path(logDir), own + profileDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f := &stoppedLibvirt{t: t, logs: h.Path(logDir), profiles: own + profileDir}
	if err := errors.Join(os.MkdirAll(h.Path("proc/77"), 0o755), os.Symlink(own, h.Path("proc/77/root"))); err != nil {
		t.Fatal(err)
	}
	v := newVerifier(place.Options{Root: h.Path("")})
	synctest.Test(t, func(t *testing.T) {
		var ctx context.Context
		ctx, f.stop = context.WithCancel(context.Background())
		if _, err := v.one(ctx, f, daemon.Process{Name: "libvirtd", PID: 77}); !errors.Is(err, context.Canceled) || errors.As(err, new(*silence)) {
			t.Errorf("%v", err)
		}
		if _, err := start(ctx, f, canary{}); !errors.Is(err, context.Canceled) {
			t.Errorf("once stopped: %v", err)
		}
	})
	if len(f.files) != 3 {
		t.Fatalf("%q", f.files)
	}
	for _, name := range f.files {
		if _, err := os.Lstat(name); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", name, err)
		}
	}
}

// stoppedLibvirt makes what libvirt leaves of a domain some time after its caller was stopped.
type stoppedLibvirt struct {
	fakeLibvirt
	t              *testing.T
	stop           func()
	logs, profiles string // folders
	files          []string
}

func (f *stoppedLibvirt) DomainCapabilities() (string, error) { return capabilities, nil }

func (f *stoppedLibvirt) Start(xml string) (bool, error) {
	f.stop()
	synctest.Wait() // who does not wait for it is gone by then
	demand, err := domain.Parse([]byte(xml))
	if err != nil {
		f.t.Error(err)
	}
	profile := filepath.Join(f.profiles, "libvirt-"+demand.Domain.UUID)
	for _, name := range []string{filepath.Join(f.logs, demand.Domain.Name+".log"), profile, profile + ".files"} {
		installtest.Write(f.t, name, "")
		f.files = append(f.files, name)
	}
	return false, &StartError{Message: qemuDied}
}

// Of one daemon, or of none that is seen, the usual URI is asked; of two each by its own.
func TestVerifyURIs(t *testing.T) {
	for _, c := range []struct {
		running []daemon.Process
		want    []string
	}{
		{nil, []string{"qemu:///system"}},
		{[]daemon.Process{{Name: "virtqemud"}}, []string{"qemu:///system"}},
		{[]daemon.Process{{Name: "virtqemud"}, {Name: "libvirtd"}}, []string{"qemu:///system?mode=direct", "qemu:///system?mode=legacy"}},
	} {
		if got := uris(c.running); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: %q", c.running, got)
		}
	}
	for _, c := range []struct{ err, want string }{
		{"no connection driver available for qemu:///system", "that daemon has no QEMU driver"},
		{"Failed to connect socket to '/var/run/libvirt/virtqemud-sock': No such file\n", "no libvirt daemon runs"},
	} {
		if err := connectError(systemURI, nil, errors.New(c.err)); !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v", err)
		}
	}
}

// Of what the kernel denied only what may be about the hook counts, and of auditd's no older.
func TestDenials(t *testing.T) {
	const (
		avc       = "type=AVC msg=audit(1.0:2): avc:  denied  "
		virtqemud = "system_u:system_r:virtqemud_t:s0"
	)
	about := subject{virtqemud, []uint64{4710, 4711}}
	for line, want := range map[string]bool{
		`audit: type=1400 audit(1.0:2): apparmor="DENIED" operation="exec" profile="libvirtd" name="/etc/libvirt/hooks/qemu" pid=1 comm="rpc-worker"`: true,
		`audit: type=1400 audit(1.0:2): apparmor="DENIED" operation="open" profile="libvirtd" name="/run/hugeguard/claims" pid=1 comm="qemu"`:         true,
		// SELinux names no path: it is known by the inode of the hook or its folder, with the daemon's context; or by the hook's
		// own domain.
		avc + `{ execute } for  pid=1 comm="rpc-virtqemud" name="anything" dev="vda" ino=4711 scontext=` + virtqemud + ` tcontext=system_u:object_r:virt_hook_t:s0 tclass=file permissive=0`:   true,
		avc + `{ read } for  pid=1 comm="zz-hugeguard" name="numa_maps" dev="proc" ino=8 scontext=system_u:system_r:hugeguard_t:s0 tcontext=system_u:system_r:x_t:s0 tclass=file permissive=0`: true,
		avc + `{ execute } for  pid=1 comm="rpc-virtqemud" name="qemu" dev="vda" ino=4712 scontext=` + virtqemud + ` tcontext=system_u:object_r:bin_t:s0 tclass=file permissive=0`:             false,
		avc + `{ read } for  pid=1 comm="qemu" name="qemu" dev="vda" ino=4711 scontext=system_u:system_r:other_t:s0 tcontext=system_u:object_r:virt_hook_t:s0 tclass=file permissive=0`:        false,
		avc + `{ execute } for  pid=1 comm="rpc-virtqemud" name="anything" dev="vda" ino=4711 scontext=` + virtqemud + ` tcontext=system_u:object_r:virt_hook_t:s0 tclass=file permissive=1`:   false,
		`audit: type=1400 audit(1.0:2): apparmor="ALLOWED" operation="exec" profile="libvirtd" name="/etc/libvirt/hooks/qemu"`:                                                                 false,
		`audit: type=1400 audit(1.0:2): apparmor="DENIED" operation="open" profile="man_filter" name="/etc/x" comm="groff"`:                                                                    false,
	} {
		if got := about.isDenied(line); got != want {
			t.Errorf("%s: %v", line, got)
		}
	}
	now := time.Now()
	name := filepath.Join(t.TempDir(), "audit.log")
	installtest.Write(t, name, strings.Repeat(strings.Repeat("x", 1023)+"\n", 2<<10)+fmt.Sprintf("type=AVC msg=audit(%d.243:1): old\nnone\ntype=AVC msg=audit(%d.243:2): new\n%s\ntype=AVC msg=audit(%[2]d.243:3): %[3]s\n", now.Unix()-10, now.Unix()+1, strings.Repeat("long", 100<<8)))
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if lines, err := auditedSince(f, now); err != nil || len(lines) != 2 || !strings.HasSuffix(lines[0], ": new") || len(lines[1]) < 100<<10 {
		t.Errorf("%d, %.200q, %v", len(lines), lines, err)
	}
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if _, err := auditedSince(dir, now); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("what cannot be read: %v", err)
	}
}
