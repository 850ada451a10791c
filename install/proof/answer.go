package proof

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"hugeguard/guard"
	"hugeguard/guard/words"
	"hugeguard/hook/config"
	"hugeguard/install/daemon"
	"hugeguard/install/journal"
	"hugeguard/install/place"
)

// An answer is what came of the start of a canary.
type answer struct {
	started    bool
	err        error             // of the start, or of destroying the domain that started
	log        bool              // QEMU has left a log file
	entries    []journal.Refusal // what our hook wrote of it
	journalErr error
	denials    []string // of AppArmor or SELinux, that may be about the hook
}

// refusal reports whether libvirt passed on our hook's refusal.
func (a answer) refusal() bool {
	var e *StartError
	return errors.As(a.err, &e) && e.Hook && strings.Contains(e.Message, "; more: hugeguard explain")
}

// ranQEMU reports whether QEMU was run: there is its log, or libvirt passes on its message (qemu-kvm: unable to ...),
// which is the same in every language of libvirt.
func (a answer) ranQEMU(c canary) bool {
	return a.started || a.log || a.err != nil && strings.Contains(strings.ReplaceAll(a.err.Error(), `\n`, " "), " "+filepath.Base(c.emulator)+": ")
}

// said returns what our hook wrote about the canary: its decision, if it made one.
func (a answer) said() (said journal.Refusal, called bool) {
	for _, e := range a.entries {
		if !called || e.Decision != "" {
			said, called = e, true
		}
	}
	return said, called
}

// proves adds to a result what the answer proves.
func (a answer) proves(r Result, c canary, conf config.Config, st place.State, asked daemon.Process) (Result, error) {
	var e *StartError
	failedHook := errors.As(a.err, &e) && e.Hook
	if e != nil {
		r.Libvirt = e.Error()
	} else if a.err != nil {
		r.Libvirt = guard.Printable(a.err.Error(), 2000)
	}
	said, called := a.said()
	r.Called, r.Summary = called, said.Summary
	switch {
	case a.refusal(), failedHook && called && said.Decision == string(guard.Refuse) && !said.Would:
		r.Called, r.Refused, r.Live = true, true, true
		r.Summary = cmp.Or(r.Summary, words.Summary(c.verdict))
		if st.NotLast != "" {
			r.Why = append(r.Why, st.NotLast)
		}
		if a.refusal() {
			return r, nil
		}
		// Another hook failed after ours, and libvirt's error is about that one.
	case said.Would:
		r.Live = true
		r.Told = told(c, conf)
	case called && said.Decision == "":
		r.Why = append(r.Why, "libvirt calls the hook, but the hook could not judge the start: see its message above, and journalctl -t hugeguard")
	case failedHook:
		why := "a hook failed, but not with hugeguard's refusal: it may keep guests from starting"
		if a.journalErr != nil {
			why += fmt.Sprintf(". hugeguard does not know whether its own hook was called (%v)", a.journalErr)
		}
		r.Why = append(r.Why, why)
		r.reasons(st, a.denials, asked)
	case a.err != nil && !a.ranQEMU(c):
		return r, fmt.Errorf("libvirt failed to start %s for an unrelated reason, so this does not tell whether it calls the hook: %s", c.Name, r.Libvirt)
	case a.journalErr != nil && (conf.Mode != config.Enforce || c.verdict.Exempt != ""):
		return r, fmt.Errorf("the hook is set to refuse nothing, and the journal does not tell whether it was called: %w", a.journalErr)
	default:
		r.Why = append(r.Why, "QEMU ran for a domain that cannot fit: libvirt did not call the hook, or ignored it")
		r.reasons(st, a.denials, asked)
	}
	if a.started {
		r.Why = append(r.Why, "the domain started, although no host has room for it; it was destroyed")
	}
	return r, nil
}

// told returns what keeps a live hook from refusing the canary.
func told(c canary, conf config.Config) string {
	switch {
	case c.verdict.Exempt != "":
		return "exempt by " + guard.Printable(c.verdict.Exempt, 200)
	case conf.Mode == config.WarnOnly:
		return "mode = warn"
	}
	return "its configuration has just changed"
}

// reasons adds the usual reasons.
func (r *Result) reasons(st place.State, denials []string, asked daemon.Process) {
	found := len(r.Why)
	r.Why = append(r.Why, st.Why...)
	for _, d := range denials {
		r.Why = append(r.Why, "denied meanwhile: "+d)
	}
	r.Why = append(r.Why, confined(st, asked)...)
	if found == len(r.Why) && asked.PID != 0 {
		r.Why = append(r.Why, fmt.Sprintf("the files are in place, but %s (pid %d) may not have looked for hooks since then: %s", asked.Name, asked.PID, asked.Command()))
	}
}

// confined returns how AppArmor or SELinux may keep a daemon from running the hook.
func confined(st place.State, asked daemon.Process) []string {
	i := slices.IndexFunc(st.Daemons, func(d place.Daemon) bool { return d.PID == asked.PID })
	if i < 0 || st.Daemons[i].Confined == "" || st.Denied != "" { // the last is named already
		return nil
	}
	d := st.Daemons[i]
	if st.Label == "" {
		return []string{fmt.Sprintf("AppArmor confines %s (%s): look for DENIED in journalctl -k", d.Name, d.Confined)}
	}
	if st.PolicyLabel != "" && st.PolicyLabel != st.Label {
		return []string{fmt.Sprintf("SELinux confines %s (%s), and the hook is %s, not %s: restorecon -v %s", d.Name, d.Confined, st.Label, st.PolicyLabel, st.Path)}
	}
	return []string{fmt.Sprintf("SELinux confines %s (%s), and the hook is %s: look in ausearch -m avc -ts recent", d.Name, d.Confined, st.Label)}
}
