package manual

import (
	"fmt"
	"strings"
)

// A Setting is one key of /etc/hugeguard.conf, as the manual page and the default configuration describe it.
type Setting struct {
	Name string
	// Default is the value without the setting; "" for one whose default is not a value.
	Default string
	// Example is a value to show where there is no Default.
	Example string
	// Takes says which values there are.
	Takes string
	// Meaning is what the setting does, in sentences.
	Meaning string
}

// Settings are all of them, in the order in which an admin meets them. What they do is hook/config.go's business;
// the tests of this package compare the two.
var Settings = []Setting{
	{Name: "mode", Default: "enforce", Takes: "enforce, warn or off",
		Meaning: "What a verdict leads to. With enforce a start that must fail is refused; with warn the journal says what " +
			"would be refused, and it goes on; with off nothing is looked at."},
	{Name: "fail", Default: "open", Takes: "open or closed",
		Meaning: "What becomes of a start that could not be judged. With open it goes on, with a warning in the journal; with " +
			"closed it is refused."},
	{Name: "deadline", Default: "2s", Takes: "a time from 10ms to 1m",
		Meaning: "How long a call of the hook may take. A start that is not judged by then counts as one that could not be."},
	{Name: "claims", Default: "on", Takes: "on or off",
		Meaning: "Whether the pages of a start that was let go on count as gone for those that follow, until it is over."},
	{Name: "wait_for_starting", Default: "0", Takes: "a time up to 30s",
		Meaning: "How long a start waits, before it is refused, where only guests that are starting are in its way. The deadline " +
			"does not count it."},
	{Name: "starting_limit", Default: "60s", Takes: "a time from 1s to 1h",
		Meaning: "When a start that was let go on is taken for lost if no QEMU has come of it."},
	{Name: "nova_conf", Example: "/etc/nova/nova.conf /etc/nova/nova.conf.d", Takes: "absolute paths, separated by spaces",
		Meaning: "The files and directories that nova-compute reads, in its order. Without the setting they are found: those " +
			"that a running nova-compute names, else those of the usual packages and deployments."},
	{Name: "ovsdb", Example: "/run/openvswitch/db.sock", Takes: "absolute paths, separated by spaces, or none",
		Meaning: "The sockets at which Open vSwitch's database is asked what it was told; the first that answers counts. Without " +
			"the setting they are the usual ones; with none it is not asked."},
}

// value is the one to show.
func (s Setting) value() string {
	if s.Default != "" {
		return s.Default
	}
	return s.Example
}

// Configuration is the /etc/hugeguard.conf that packages bring: every setting, commented out, so that it changes
// nothing.
func Configuration() string {
	var b strings.Builder
	b.WriteString(`# How hugeguard's hook decides: see hugeguard.conf(5). What is commented out below is the default, or an example
# where the text says what happens without it. The hook reads this file at every call, so a change needs no restart.
# It is followed only while root owns it and nobody else can write to it.
`)
	for _, s := range Settings {
		about := fold(strings.Fields(s.Meaning+" Takes "+s.Takes+"."), 110)
		fmt.Fprintf(&b, "\n# %s\n#%s = %s\n", strings.Join(about, "\n# "), s.Name, s.value())
	}
	return b.String()
}

// ConfigurationPage is hugeguard.conf(5).
func ConfigurationPage(r Release) string {
	p := newPage("HUGEGUARD.CONF", 5, r)
	p.section("NAME")
	p.line(`hugeguard.conf \- configuration of hugeguard's libvirt hook`)
	p.section("SYNOPSIS")
	p.line(bold("/etc/hugeguard.conf"))
	p.section("DESCRIPTION")
	p.text(`The hook reads this file at every call of libvirt's, so that a change counts from the next start of a guest.
Without the file, or a setting in it, the defaults below hold.

A line is "key = value". # begins a comment, at the start of a line or after white space. A line that makes no sense is
left out and reported, with its number, in the journal and by hugeguard status and check; the others hold.

The file is followed only where it is a file that root owns and nobody else can write to, or a link to such. Otherwise
all is as if it were not there, with a warning in the journal.`)
	p.section("SETTINGS")
	for _, s := range Settings {
		p.item(bold(s.Name)+" = "+italic(s.value()), s.about())
	}
	p.line(".PP")
	p.text("Times are numbers with a unit: 500ms, 2s, 1m.")
	p.section("SEE ALSO")
	p.line(".BR hugeguard (8),")
	p.line(".BR journalctl (1)")
	return p.String()
}

func (s Setting) about() string {
	if s.Default == "" {
		return s.Meaning + " Takes " + s.Takes + "."
	}
	return s.Meaning + " Takes " + s.Takes + "; the default is " + s.Default + "."
}
