package confine

import (
	"fmt"
	"slices"
	"strings"
)

// The files of apparmorfs (the kernel's security/apparmor/apparmorfs.c).
const (
	apparmorDir  = "sys/kernel/security/apparmor/"
	queryFile    = apparmorDir + ".access"
	profilesFile = apparmorDir + "profiles"
)

const (
	classFile = "\x02" // AA_CLASS_FILE
	mayExec   = 1      // AA_MAY_EXEC
)

// enforced are the modes of a profile that denies, as the kernel shows them.
var enforced = []string{" (enforce)", " (kill)"}

// loaded returns the profile that is loaded under a daemon's name, as the daemon's process will show it; "" if there is
// none. The packages of libvirt name the profiles after the daemons.
func (h Host) loaded(name string) string {
	text, err := h.Files.ReadFile(profilesFile, 1<<20)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, name+" (") {
			return line
		}
	}
	return ""
}

// deniedByAppArmor asks AppArmor whether the daemon's profile lets it execute the path (aa_query_label(2)).
func (h Host) deniedByAppArmor(s Subject, hook Hook) (*Denial, error) {
	i := slices.IndexFunc(enforced, func(mode string) bool { return strings.HasSuffix(s.Context, mode) })
	if i < 0 {
		return nil, nil
	}
	profile := strings.TrimSuffix(s.Context, enforced[i])
	answer, err := h.Kernel.Ask(queryFile, []byte("label\x00"+profile+"\x00"+classFile+hook.Path))
	if err != nil {
		return nil, fmt.Errorf("AppArmor was not asked whether %s may execute the hook: %w", s.Name, err)
	}
	var allow, deny uint32
	if _, err := fmt.Sscanf(answer, "allow 0x%x\ndeny 0x%x", &allow, &deny); err != nil {
		return nil, fmt.Errorf("%s answers %.80q: %w", h.Files.Path(queryFile), answer, err)
	}
	if allow&^deny&mayExec != 0 {
		return nil, nil
	}
	return &Denial{
		Why:      fmt.Sprintf("AppArmor's profile %s denies %s to execute %s, and every start of a guest would fail", shown(profile), s.Name, hook.Path),
		Fix:      "allow it in the profile (/etc/libvirt/hooks/** rmix,), load the profile again, then run hugeguard install",
		Enforced: true,
	}, nil
}
