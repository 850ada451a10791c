package words

import (
	"fmt"
	gopath "path"
	"strings"

	"hugeguard/guard/fix"
)

// widenCpuset says how control groups leave QEMU more nodes: by systemd, which keeps that, where the group is a unit's and
// of version 2 (AllowedMemoryNodes= in systemd.resource-control(5)), else by the kernel's file.
func widenCpuset(w fix.WidenCpuset) Fix {
	var commands, lasting []string
	for _, g := range w.Groups {
		unit, file := gopath.Base(g.Dir), ShellWord(gopath.Join(g.Dir, "cpuset.mems"))
		switch {
		case file == "":
		case !w.Legacy && (strings.HasSuffix(unit, ".slice") || strings.HasSuffix(unit, ".service")):
			commands = append(commands, fmt.Sprintf("systemctl set-property %s AllowedMemoryNodes=%s", ShellWord(unit), g.Nodes))
		default:
			commands = append(commands, fmt.Sprintf("echo %s > %s", g.Nodes, file))
			lasting = append(lasting, fmt.Sprintf("change it in the program or the unit that writes %s", file))
		}
	}
	last := w.Groups[len(w.Groups)-1]
	f := onHost(fmt.Sprintf("let guests have memory of %s: %s keeps them to %s. The last command must print %s", nodes(w.Nodes), gopath.Base(last.Dir), nodes(w.Kept), w.Nodes),
		append(commands, "cat "+ShellWord(w.Shown))...)
	f.short = strings.Join(commands, "; ")
	f.Cost = fmt.Sprintf("all guests there may then take memory of %s, which somebody kept from them", nodes(w.Nodes.Without(w.Kept)))
	f.Lasting = lasting
	if lasting == nil {
		f.Lasting = []string{"nothing to do: systemd keeps what set-property sets"}
	}
	return f
}
