package capture

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"hugeguard/guard/domain"
	"hugeguard/guard/nova"
	"hugeguard/guard/ovs"
	"hugeguard/hook/config"
	"hugeguard/hook/ledger"
	"hugeguard/hook/survey"
	"hugeguard/sysfs"
)

// reductions say what is kept of files that are not the kernel's.
var reductions = []sysfs.Reduction{
	{Files: config.Path, Keep: reduceConfig},
	{Files: ledger.Dir + "/*.json", Keep: reduceLedger},
	{Files: survey.CapturedOVS, Keep: reduceOVS},
	{Files: "*.pid", Keep: reducePIDFile},
	{Files: "run/libvirt/qemu/*.xml", Keep: reduceDomain},
	{Files: "etc/libvirt/qemu/*.xml", Keep: reduceDomain},
	{Files: "etc/libvirt/qemu.conf", Keep: reduceQEMUConf},
	{Files: "var/cache/libvirt/qemu/capabilities/*", Keep: reduceCapabilities},
	{Files: "proc/[0-9]*/cmdline", Keep: reduceArguments},
}

// reduce returns what is kept of a file that was read. A file that lies where somebody chose is Nova's configuration,
// of which nothing but one option gets through, whatever its name is.
func (t *taker) reduce(name string, e sysfs.Entry) ([]byte, error) {
	if e.Chosen {
		return []byte(nova.Reduce(string(e.Data))), nil
	}
	return t.reducer.Reduce(name, e)
}

func reduceConfig(text []byte) ([]byte, error) { return text, nil }

func reduceLedger(text []byte) ([]byte, error) {
	var kept ledger.Ledger
	err := json.Unmarshal(text, &kept)
	if err != nil {
		return nil, err
	}
	return kept.Text(), nil
}

func reduceOVS(text []byte) ([]byte, error) {
	config, err := ovs.Read(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	return ovs.Answer(config)
}

func reducePIDFile(text []byte) ([]byte, error) {
	pid, err := strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil {
		return nil, errors.New("it is no pid file")
	}
	return fmt.Appendln(nil, pid), nil
}

func reduceDomain(text []byte) ([]byte, error) {
	left, err := domain.Reduce(text)
	switch {
	case err == nil:
		return left, nil
	case bytes.Contains(text, []byte(domain.NovaNamespace)):
		// Neither can it be read now, and it is Nova's if it was.
		return []byte("<domain>" + domain.NovaNamespace + "\n"), nil
	}
	return []byte("<domain>\n"), nil
}

func reduceQEMUConf(text []byte) ([]byte, error) {
	left, err := survey.ReduceQEMUConf(text)
	return append([]byte{}, left...), err
}

// capabilities are the elements that are kept of what libvirt found out about an emulator.
var capabilities = []string{"emulator", "qemuctime", "selfvers", "version", "package"}

// reduceCapabilities keeps which releases an emulator and libvirt are, as libvirt writes it: a line for each.
func reduceCapabilities(text []byte) ([]byte, error) {
	kept := []byte{}
	for line := range bytes.Lines(text) {
		element, _, ok := strings.Cut(strings.TrimPrefix(string(line), "  <"), ">")
		if element == "arch" {
			break
		}
		if string(line) == "<qemuCaps>\n" || ok && slices.Contains(capabilities, element) {
			kept = append(kept, line...)
		}
	}
	return kept, nil
}

const compute = "nova-compute"

// isCompute reports whether reduced arguments are nova-compute's.
func isCompute(arguments []byte) bool {
	words := strings.Split(string(arguments), "\x00")
	return slices.Contains(words[:min(len(words), 2)], compute)
}

// reduceArguments keeps the arguments by which Open vSwitch, a guest or nova-compute is known, and where nova-compute
// finds its configuration.
func reduceArguments(text []byte) ([]byte, error) {
	if len(text) == 0 {
		return text, nil // a kernel thread's
	}
	arguments := strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
	kept := append(keptProgram(arguments), keptOptions(arguments)...)
	return []byte(strings.Join(kept, "\x00") + "\x00"), nil
}

// computeAt returns which argument is nova-compute, a program that Python runs; -1 for none.
func computeAt(arguments []string) int {
	return slices.IndexFunc(arguments[:min(len(arguments), 3)], func(a string) bool { return path.Base(a) == compute })
}

func keptProgram(arguments []string) []string {
	program := path.Base(arguments[0])
	if program != compute && !strings.HasPrefix(program, "ovs-vswitchd") {
		program = ""
	}
	if computeAt(arguments) > 0 {
		return []string{program, compute}
	}
	return []string{program}
}

func keptOptions(arguments []string) (kept []string) {
	at := computeAt(arguments)
	named := false
	for i := 1; i < len(arguments); i++ {
		argument := arguments[i]
		next := ""
		if i+1 < len(arguments) {
			next = arguments[i+1]
		}
		switch {
		case at >= 0 && i > at && isNovaSource(argument):
			if !strings.Contains(argument, "=") {
				i++
				if i == len(arguments) {
					return kept
				}
				argument += "=" + next
			}
			kept = append(kept, argument)
		case isDatabase(argument):
			kept = append(kept, argument)
		case argument == "-name" && !named && i+1 < len(arguments):
			named = true
			guest := guestName(next)
			if guest != "" {
				kept = append(kept, "-name", guest)
			}
		}
	}
	return kept
}

// isNovaSource reports whether an argument says where Nova's configuration lies.
func isNovaSource(argument string) bool {
	name, _, _ := strings.Cut(argument, "=")
	return name == "--config-file" || name == "--config-dir"
}

// isDatabase reports whether an argument names the socket of Open vSwitch's database.
func isDatabase(argument string) bool {
	socket, ok := strings.CutPrefix(argument, "unix:")
	return ok && path.Base(socket) == "db.sock"
}

// guestName returns the name in what libvirt gives QEMU for it: guest=NAME,...
func guestName(argument string) string {
	if !strings.HasPrefix(argument, "guest=") {
		return ""
	}
	for i := 0; i < len(argument); i++ {
		if argument[i] != ',' {
			continue
		}
		if i+1 == len(argument) || argument[i+1] != ',' {
			return argument[:i]
		}
		i++
	}
	return argument
}
