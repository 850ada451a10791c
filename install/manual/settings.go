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

// Configuration returns the /etc/hugeguard.conf that packages ship: every setting, commented out, so that it changes
// nothing.
func Configuration() string {
	var b strings.Builder
	b.WriteString(`# How hugeguard's hook decides: see hugeguard.conf(5). What is commented out below is the default, or an example where
# that is no value. The hook reads this file at every call, so a change needs no restart. It is followed only while root
# owns it and nobody else can write to it.
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
	p.text(`The hook reads this file at every call of libvirt's, so that a change counts from the next start of a guest.
Without the file, or a setting in it, the defaults below hold.

A line is "NAME = VALUE". # begins a comment, at the start of a line or after white space. A line that makes no sense is
left out and reported, with its number and what would be right, in the journal and by hugeguard status; the others hold.
Of two lines for one setting the last counts. hugeguard config shows the settings in effect and where each comes from,
and checks a file before it is installed.

A mode that cannot be read means warn, so that a typing error refuses no start. The journal says so at every start, and
hugeguard status says it first. The same holds for a file of root's that cannot be read.

The file must be owned by root and not writable by others, or be a link to such a file. Otherwise hugeguard ignores it,
with a warning in the journal: others must not be able to switch the guard off.`)
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
	p.text(`A domain that is exempt is judged as any other, but goes on where it would be refused, and the journal says so. A
domain exempts itself by an element in its metadata, which is put there by

  virsh metadata DOMAIN ` + guard.Namespace + ` --key hugeguard --set '<exempt/>' --config`)
	p.section("SEE ALSO")
	p.line(".BR hugeguard (8),")
	p.line(".BR journalctl (1)")
	return p.String()
}
