package main

import (
	"regexp"
	"strings"

	"hugeguard/testdata/vm"
)

// now is the time in the machine, in seconds.
func (p *play) now() (string, error) {
	text, err := p.Must("date", "+%s")
	return strings.TrimSpace(text), err
}

var (
	// changing is what differs between denials of the same.
	changing = regexp.MustCompile(` pid=\d+| ino=\d+|msg=audit\([^)]*\): |:c\d+,c\d+`)
	// harmless are the permissions that policies ask for without need when a process changes its domain (domtrans_pattern
	// in refpolicy). hugeguard's policy does not allow them, and has a dontaudit rule for them.
	harmless = regexp.MustCompile(`\{ (noatsecure|rlimitinh|siginh)( (noatsecure|rlimitinh|siginh))* \}`)
)

// sorted returns the denials of an audit log, each once: those of hugeguard, or of others about what is hugeguard's, and
// the rest, but for those in a permissive domain, which denied nothing.
func sorted(log string) (own, rest []string) {
	seen := map[string]bool{}
	for line := range strings.Lines(log) {
		line = changing.ReplaceAllString(strings.TrimSpace(line), "")
		denied := strings.Contains(line, "denied ") || strings.HasPrefix(line, "type=SELINUX_ERR ")
		switch {
		case !denied || seen[line] || harmless.MatchString(line):
		case strings.Contains(line, "hugeguard"): // its domain, its types, its programs
			own = append(own, line)
		case !strings.Contains(line, " permissive=1"):
			rest = append(rest, line)
		}
		seen[line] = true
	}
	return own, rest
}

// audited prints what SELinux denied since then. Where that is nothing, ausearch fails.
func audited(since string) string {
	return "LC_TIME=C ausearch -m avc,user_avc,selinux_err -ts $(date -d @" + since + " '+%m/%d/%y %T') --raw || true"
}

// ownDenials checks that nothing was denied since then to hugeguard, or to others about what is hugeguard's.
func (p *play) ownDenials(since string) error {
	log, err := p.Sh(audited(since))
	if err != nil {
		return err
	}
	own, rest := sorted(log)
	for _, line := range rest {
		vm.Say("  (denied to others: %s)", line)
	}
	p.That(own == nil, "SELinux denied nothing of hugeguard's", strings.Join(own, "\n"))
	return nil
}
