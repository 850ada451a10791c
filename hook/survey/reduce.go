package survey

import (
	"bytes"
	"path"
	"strings"

	"hugeguard/guard/domain"
	"hugeguard/guard/nova"
	"hugeguard/guard/ovs"
	"hugeguard/hook/config"
	"hugeguard/hook/ledger"
	"hugeguard/sysfs"
)

// Reductions say what a capture keeps of the files that a survey reads besides the kernel's. Those of Nova lie where an
// admin chose: see [Reduce].
var Reductions = []sysfs.Reduction{
	{Files: config.Path, Keep: config.Reduce},
	{Files: ledger.Path, Keep: ledger.Reduce},
	{Files: CapturedOVS, Keep: reduceOVS},
	{Files: "run/libvirt/qemu/*.xml", Keep: reduceDomain},
	{Files: "etc/libvirt/qemu/*.xml", Keep: reduceDomain},
	{Files: qemuConfPath, Keep: reduceQEMUConf},
	{Files: capabilitiesDir + "/*", Keep: reduceCapabilities},
	{Files: tunedProfile, Keep: whatItIs},
	{Files: "proc/[0-9]*/cmdline", Keep: reduceArguments},
}

// Reduce returns what a capture keeps of a file that a survey read. The files that lie where somebody chose are Nova's
// configuration, of which nothing but one option gets through, whatever their names are.
func Reduce(r *sysfs.Reducer, name string, e sysfs.Entry) ([]byte, error) {
	if e.Chosen {
		return []byte(nova.Reduce(string(e.Data))), nil
	}
	return r.Reduce(name, e)
}

// whatItIs keeps all of a file that holds nothing but what is read.
func whatItIs(text []byte) ([]byte, error) { return text, nil }

func reduceOVS(text []byte) ([]byte, error) {
	told, err := ovs.Read(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	return ovs.Answer(told)
}

// reduceDomain keeps what decides about a domain's memory. One that cannot be read cannot be read then either, and is
// Nova's if it was.
func reduceDomain(text []byte) ([]byte, error) {
	left, err := domain.Reduce(text)
	switch {
	case err == nil:
		return left, nil
	case bytes.Contains(text, []byte(domain.NovaNamespace)):
		return []byte("<domain>" + domain.NovaNamespace + "\n"), nil
	}
	return []byte("<domain>\n"), nil
}

// reduceArguments keeps the arguments by which Open vSwitch, a guest or nova-compute is known, and those that say where
// nova-compute finds its configuration.
func reduceArguments(text []byte) ([]byte, error) {
	if len(text) == 0 {
		return text, nil // a kernel thread's
	}
	arguments := strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
	kept := keptProgram(arguments)
	at := computeAt(arguments)
	if at >= 0 {
		for _, source := range nova.Sources(arguments[at+1:]) {
			if source.Named {
				kept = append(kept, configOption(source)+source.Path[0])
			}
		}
	}
	for _, argument := range arguments {
		if isDatabase(argument) {
			kept = append(kept, argument)
		}
	}
	guest, ok := guestName(arguments)
	if ok {
		kept = append(kept, "-name", "guest="+strings.ReplaceAll(guest, ",", ",,"))
		if uuid := guestUUID(arguments); uuid != "" {
			kept = append(kept, "-uuid", uuid)
		}
	}
	return []byte(strings.Join(kept, "\x00") + "\x00"), nil
}

// keptProgram returns the first arguments, by which a program is known. There are as many as a script can be among that
// Python runs.
func keptProgram(arguments []string) []string {
	program := path.Base(arguments[0])
	if program != computeName && !isOVS(program) {
		program = ""
	}
	if computeAt(arguments) > 0 {
		return []string{program, computeName}
	}
	return []string{program, "", ""}
}

func configOption(source nova.Source) string {
	if source.Dir {
		return "--config-dir="
	}
	return "--config-file="
}

// IsCompute reports whether reduced arguments are nova-compute's.
func IsCompute(arguments []byte) bool {
	return computeAt(strings.Split(string(arguments), "\x00")) >= 0
}
