package process

import (
	"path"
	"slices"
	"strings"

	"hugeguard/guard/nova"
	"hugeguard/sysfs"
)

// Arguments is what a process's arguments tell of it.
type Arguments struct {
	// Guest is the name of a QEMU's guest, if IsGuest, and UUID the guest's; "" without one.
	Guest, UUID string
	IsGuest     bool
	// OVS reports whether it is Open vSwitch's daemon, under any name.
	OVS bool
	// Compute are nova-compute's own arguments; nil for any other program.
	Compute []string
}

// ParseArguments returns what a process's arguments tell of it.
func ParseArguments(arguments []string) (a Arguments) {
	a.Guest, a.IsGuest = guestName(arguments)
	a.UUID = valueOf(arguments, "-uuid")
	// Of all programs that talk to Open vSwitch's database it is the one that has huge pages.
	a.OVS = len(arguments) > 0 && IsOVS(path.Base(arguments[0])) || slices.ContainsFunc(arguments, isDatabase)
	// A program that Python runs.
	at := slices.IndexFunc(arguments[:min(len(arguments), 3)], func(a string) bool { return path.Base(a) == ComputeName })
	if at >= 0 {
		a.Compute = arguments[at+1:]
	}
	return a
}

// ComputeName is the name of nova-compute's program.
const ComputeName = "nova-compute"

// guestName finds the name in the command line that libvirt gives QEMU:
// -name guest=NAME,debug-threads=on, with commas in the name doubled. It
// serves for guests of session daemons, whose pid files lie elsewhere.
func guestName(arguments []string) (string, bool) {
	name, ok := strings.CutPrefix(valueOf(arguments, "-name"), "guest=")
	if !ok {
		return "", false
	}
	const comma = "\x00" // no argument can hold one
	name = strings.ReplaceAll(name, ",,", comma)
	name, _, _ = strings.Cut(name, ",")
	return strings.ReplaceAll(name, comma, ","), true
}

// valueOf returns the argument that follows an option; "" without one.
func valueOf(arguments []string, option string) string {
	at := slices.Index(arguments, option)
	if at < 0 || at+1 >= len(arguments) {
		return ""
	}
	return arguments[at+1]
}

// isDatabase reports whether an argument names the socket of Open vSwitch's database.
func isDatabase(argument string) bool {
	socket, ok := strings.CutPrefix(argument, "unix:")
	return ok && path.Base(socket) == "db.sock"
}

// ArgumentsOf returns what the arguments of a running process tell of it: nothing where they cannot be read.
func ArgumentsOf(root sysfs.FS, pid int) Arguments {
	arguments, _ := root.Arguments(pid)
	return ParseArguments(arguments)
}

// ReduceArguments keeps the arguments by which Open vSwitch, a guest or nova-compute is known, and those that say where
// nova-compute finds its configuration.
func ReduceArguments(text []byte) ([]byte, error) {
	if len(text) == 0 {
		return text, nil // a kernel thread's
	}
	arguments := strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
	a := ParseArguments(arguments)
	kept := keptProgram(arguments, a)
	for _, source := range nova.Sources(a.Compute) {
		if !source.Named {
			continue
		}
		option := "--config-file="
		if source.Dir {
			option = "--config-dir="
		}
		kept = append(kept, option+source.Path[0])
	}
	for _, argument := range arguments {
		if isDatabase(argument) {
			kept = append(kept, argument)
		}
	}
	if a.IsGuest {
		kept = append(kept, "-name", "guest="+strings.ReplaceAll(a.Guest, ",", ",,"))
		if a.UUID != "" {
			kept = append(kept, "-uuid", a.UUID)
		}
	}
	return []byte(strings.Join(kept, "\x00") + "\x00"), nil
}

// keptProgram returns the first arguments, by which a program is known. There are as many as a script can be among that
// Python runs.
func keptProgram(arguments []string, a Arguments) []string {
	program := path.Base(arguments[0])
	switch {
	case program == ComputeName:
		return []string{program, "", ""}
	case !IsOVS(program):
		program = ""
	}
	if a.Compute != nil {
		return []string{program, ComputeName}
	}
	return []string{program, "", ""}
}
