package survey

import (
	"bytes"
	"slices"

	"hugeguard/guard/domain"
	"hugeguard/guard/nova"
	"hugeguard/guard/ovs"
	"hugeguard/hook/config"
	"hugeguard/hook/ledger"
	"hugeguard/hook/survey/compute"
	"hugeguard/hook/survey/libvirt"
	"hugeguard/hook/survey/process"
	"hugeguard/hook/survey/vswitch"
	"hugeguard/sysfs"
)

// Reductions say what a capture keeps of the files that a survey reads besides the kernel's. Those of Nova lie where an
// admin chose: see [Reduce].
var Reductions = []sysfs.Reduction{
	{Files: config.Path, Keep: config.Reduce},
	{Files: ledger.Path, Keep: ledger.Reduce},
	{Files: ledger.RefusedDir + "/*", Keep: ledger.ReduceRefused},
	{Files: ledger.ToldPath, Keep: ledger.ReduceTold},
	{Files: vswitch.Captured, Keep: reduceOVS},
	{Files: vswitch.CapturedUse, Keep: reduceOVSUse},
	{Files: "run/libvirt/qemu/*.xml", Keep: reduceDomain},
	{Files: "etc/libvirt/qemu/*.xml", Keep: reduceDomain},
	{Files: libvirt.ConfPath, Keep: libvirt.ReduceConf},
	{Files: libvirt.CapabilitiesDir + "/*", Keep: libvirt.ReduceCapabilities},
	{Files: compute.DomainLogs + "/*.log", Keep: compute.ReduceLog},
	{Files: tunedProfile, Keep: whatItIs},
	{Files: hooksDir + "/qemu*", Keep: reduceHook},
	{Files: hooksDir + "/qemu.d/*", Keep: reduceHook},
	{Files: hooksDir + "/qemu.d/*/prepare/begin/*", Keep: reduceHook},
	{Files: "proc/[0-9]*/cmdline", Keep: process.ReduceArguments},
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

func reduceOVSUse(text []byte) ([]byte, error) {
	use, err := ovs.ReadUse(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	return ovs.UseAnswer(use)
}

// reduceDomain keeps what decides about a domain's memory, and whether it is being moved here by post-copy. One that
// cannot be read cannot be read then either, and is Nova's if it was.
func reduceDomain(text []byte) ([]byte, error) {
	left, err := domain.Reduce(text)
	switch {
	case err == nil && ledger.Arrives(text):
		return slices.Concat([]byte(ledger.ReducedArrival), left, []byte(ledger.ReducedEnd)), nil
	case err == nil:
		return left, nil
	case bytes.Contains(text, []byte(domain.NovaNamespace)):
		return []byte("<domain>" + domain.NovaNamespace + "\n"), nil
	}
	return []byte("<domain>\n"), nil
}
