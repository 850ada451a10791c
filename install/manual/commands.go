// Package manual writes hugeguard's manual pages and the configuration that packages ship, from the command's own help
// and the table of settings.
package manual

import (
	"cmp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// CommandPage returns hugeguard(8): the help of all commands below root that are not hidden.
func CommandPage(root *cobra.Command, r Release) string {
	p := newPage(strings.ToUpper(root.Name()), 8, r)
	p.section("NAME")
	p.line(escape(root.Name()) + ` \- ` + escape(lowerFirst(root.Short)))
	commands := available(root)
	p.section("SYNOPSIS")
	for i, c := range commands {
		if i > 0 {
			p.line(".br")
		}
		p.line(synopsis(c))
	}
	about, status := cutParagraph(root.Long, "Exit status:\n")
	p.section("DESCRIPTION")
	p.text(about)
	p.section("COMMANDS")
	for _, c := range commands {
		p.line(".SS " + escape(strings.TrimPrefix(c.CommandPath(), root.Name()+" ")))
		p.command(c)
	}
	if status != "" {
		p.section("EXIT STATUS")
		for _, line := range strings.Split(status, "\n") {
			number, meaning, _ := strings.Cut(strings.TrimSpace(line), " ")
			p.item(bold(number), upperFirst(strings.TrimSpace(meaning))+".")
		}
	}
	p.section("FILES")
	for _, f := range files {
		p.item(bold(f.name), f.about)
	}
	p.section("SEE ALSO")
	p.line(".BR hugeguard.conf (5),")
	p.line(".BR journalctl (1),")
	p.line(".BR virsh (1)")
	p.line(".PP")
	p.line("https://libvirt.org/hooks.html")
	return p.String()
}

// command describes a command.
func (p *page) command(c *cobra.Command) {
	p.line(synopsis(c))
	p.line(".PP")
	p.text(cmp.Or(c.Long, c.Short+"."))
	c.NonInheritedFlags().VisitAll(p.flag)
	if c.Example != "" {
		p.line(".PP")
		p.line("Examples:")
		p.text(verbatim(c.Example))
	}
}

// flag describes a flag, unless it is hidden or help itself.
func (p *page) flag(f *pflag.Flag) {
	if f.Hidden || f.Name == "help" {
		return
	}
	value, usage := pflag.UnquoteUsage(f)
	tag := bold("--" + f.Name)
	if f.Shorthand != "" {
		tag = bold("-"+f.Shorthand) + ", " + tag
	}
	switch {
	case value != "" && f.NoOptDefVal != "":
		tag += "[=" + italic(value) + "]"
	case value != "":
		tag += " " + italic(value)
	}
	p.item(tag, upperFirst(usage)+".")
}

// files are those that an admin may come across.
var files = []struct{ name, about string }{
	{"/etc/hugeguard.conf", "The settings of the hook; see hugeguard.conf(5)."},
	{"/etc/libvirt/hooks/qemu", "The hook program, a copy. If the site has other qemu hooks, it is /etc/libvirt/hooks/qemu.d/zz-hugeguard, " +
		"or the site's own becomes /etc/libvirt/hooks/qemu.site; see install."},
	{"/usr/lib/hugeguard/qemu", "The hook program that belongs to this command."},
	{"/run/hugeguard/claims", "The claims of starting guests."},
	{"/var/lib/hugeguard/install.json", "What uninstall needs to leave libvirt's hooks as they were."},
	{"/var/lib/hugeguard/metrics.json", "The counters of metrics, and the place in the journal where it continues."},
	{"/usr/lib/systemd/system/hugeguard-reserve.timer", "Runs hugeguard-reserve.service every five minutes if you enable it, which does what the setting reserve says."},
	{"/usr/lib/systemd/system/hugeguard-metrics.timer", "Runs hugeguard-metrics.service every minute, which writes the metrics for node_exporter."},
	{"/usr/lib/systemd/system/hugeguard-withdraw.service", "Runs before it, and takes the hook away if libvirt's daemon may not execute it."},
	{"/usr/share/hugeguard", "Alerts for Prometheus, a dashboard for Grafana, and a hugeguard.conf with every setting, to copy from."},
	{"/usr/share/doc/hugeguard/README.md", "The documentation, in packages: a page for each cause of a refusal, rolling out, Nova, metrics."},
	{"/usr/lib/systemd/catalog/hugeguard.catalog", "The explanations of journalctl -x -t hugeguard."},
}

// available returns the commands below c that help shows, without help itself, each before those below it.
func available(c *cobra.Command) []*cobra.Command {
	var list []*cobra.Command
	for _, sub := range c.Commands() {
		if !sub.IsAvailableCommand() || sub.Name() == "help" || sub.Name() == "completion" {
			continue
		}
		if sub.Runnable() {
			list = append(list, sub)
		}
		list = append(list, available(sub)...)
	}
	return list
}

// synopsis returns how to call c, with its name in bold.
func synopsis(c *cobra.Command) string {
	return bold(c.CommandPath()) + escape(strings.TrimPrefix(c.UseLine(), c.CommandPath()))
}

// cutParagraph cuts the paragraph that begins with lead out of text, and returns it without lead.
func cutParagraph(text, lead string) (rest, paragraph string) {
	var others []string
	for _, p := range strings.Split(text, "\n\n") {
		if found, ok := strings.CutPrefix(p, lead); ok {
			paragraph = found
		} else {
			others = append(others, p)
		}
	}
	return strings.Join(others, "\n\n"), paragraph
}

// verbatim indents every line.
func verbatim(text string) string {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	for i, line := range lines {
		lines[i] = "  " + strings.TrimPrefix(line, "  ")
	}
	return strings.Join(lines, "\n")
}

func upperFirst(s string) string { return strings.ToUpper(s[:min(1, len(s))]) + s[min(1, len(s)):] }
func lowerFirst(s string) string { return strings.ToLower(s[:min(1, len(s))]) + s[min(1, len(s)):] }
