package manual

import (
	"fmt"
	"strings"

	"hugeguard/guard"
	"hugeguard/hook/config"
)

// examples are the values to show of settings without a default.
var examples = map[string]string{
	"exempt":    "test-* scratch",
	"nova_conf": "/etc/nova/nova.conf /etc/nova/nova.conf.d",
	"ovsdb":     "/run/openvswitch/db.sock",
}

// value returns the value to show of a setting.
func value(s config.Setting) string {
	if s.Default != "" {
		return s.Default
	}
	return examples[s.Name]
}

// about describes a setting.
func about(s config.Setting) string { return s.Meaning + " Takes " + s.Values + "." }

// Configuration returns an /etc/hugeguard.conf to copy from: every setting, commented out, so that it changes nothing.
func Configuration() string {
	var b strings.Builder
	b.WriteString(`# The settings of hugeguard's hook: see hugeguard.conf(5). A line that is commented out below shows the default,
# or an example if there is none. The hook reads this file at every call, so a change needs no restart. The hook
# ignores the file unless root owns it and nobody else can write to it.
`)
	for _, s := range config.Settings() {
		fmt.Fprintf(&b, "\n# %s\n#%s = %s\n", strings.Join(fold(strings.Fields(about(s)), 110), "\n# "), s.Name, value(s))
	}
	return b.String()
}

// ConfigurationPage returns hugeguard.conf(5).
func ConfigurationPage(r Release) string {
	p := newPage("HUGEGUARD.CONF", 5, r)
	p.section("NAME")
	p.line(`hugeguard.conf \- configuration of hugeguard's libvirt hook`)
	p.section("SYNOPSIS")
	p.line(bold("/etc/hugeguard.conf"))
	p.section("DESCRIPTION")
	p.text(`The hook reads this file each time libvirt calls it, so a change counts from the next start of a guest.
Without the file, or without a setting in it, the defaults below hold.

A line is "NAME = VALUE". # begins a comment, at the start of a line or after white space. hugeguard ignores a wrong
line. The journal and hugeguard status report it, with its number and what would be right. All other lines hold. If
two lines set one setting, the last counts. hugeguard config shows the settings in effect and where each comes from,
and checks a file before you install it.

A mode that cannot be read means warn, so a typing error never refuses a start. The journal says so at every start, and
hugeguard status says it first. The same holds for a file of root's that cannot be read.

The file must be owned by root and not writable by others, or be a link to a file that is. Otherwise hugeguard ignores
it, with a warning in the journal: only root may switch the guard off.`)
	p.section("SETTINGS")
	for _, s := range config.Settings() {
		text := about(s)
		if s.Default != "" {
			text = strings.TrimSuffix(text, ".") + "; the default is " + s.Default + "."
		} else {
			text += " The value above is an example."
		}
		p.item(bold(s.Name)+" = "+italic(value(s)), text)
	}
	p.line(".PP")
	p.text("Times are numbers with a unit: 500ms, 2s, 1m.")
	p.section("EXEMPT DOMAINS")
	p.text(`hugeguard judges an exempt domain like any other, but never refuses it, and the journal says so. A domain
can exempt itself by an element in its metadata. Add it with

  virsh metadata DOMAIN ` + guard.Namespace + ` --key hugeguard --set '<exempt/>' --config`)
	p.section("SEE ALSO")
	p.line(".BR hugeguard (8),")
	p.line(".BR journalctl (1)")
	return p.String()
}
