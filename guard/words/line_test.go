package words_test

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"hugeguard/guard"
	"hugeguard/guard/fix"
	"hugeguard/guard/words"
)

// hostile is what others may name a domain, a process or a file.
var hostile = map[string]string{
	"plain":     "instance-00000006",
	"blanks":    "web server 1",
	"variable":  "$HOME/$(id)",
	"a dot":     ".hidden",
	"UTF-8":     "größe-客",
	"empty":     "",
	"long":      strings.Repeat("x", 255),
	"quotes":    `it's "$(reboot)"` + "`reboot`",
	"an option": "--help",
	"lines":     "a\nPRIORITY=0\r\x1b[2J\n",
	"no UTF-8":  strings.Repeat("\xff", 100),
	"bidi":      strings.Repeat("\u202e", 80),
	"wide":      strings.Repeat("客", 80),
	"forged":    "x holds node 9's 2M pages: ; fix: rm -rf /; more: x",
}

// TestLine: of every cause, whatever things are named and wherever they are, the first 30 bytes say the cause and the
// node, the whole fits into libvirt's error, and the command that says more is whole.
func TestLine(t *testing.T) {
	says := map[guard.Cause]string{
		guard.CauseOVS:                 "OVS-DPDK holds %s'",
		guard.CauseOtherHolder:         " holds %s",
		guard.CauseGuests:              "guests fill %s'",
		guard.CauseStartingGuests:      "starting guests take %s",
		guard.CauseLeftoverFiles:       "leftover files hold %s",
		guard.CauseKernelReserved:      "promises hold %s",
		guard.CausePoolTooSmall:        "%s ha",
		guard.CausePoolMissing:         "%s ha",
		guard.CausePageSizeUnsupported: "this kernel has no 2M pages",
		guard.CauseMountLimit:          "mount limit is too low for 2M",
		guard.CauseCgroupLimit:         "cgroup limit is too low for 2M",
		guard.CauseSizeMismatch:        "size is no multiple of 2M page",
		guard.CauseBindingImpossible:   "cannot bind RAM to %s",
		guard.CauseUnaccounted:         "unexplained use of %s",
	}
	for _, cause := range guard.Causes() {
		want, ok := says[cause]
		if !ok {
			t.Errorf("%s: nobody knows what the line says", cause)
		}
		for node, nodes := range map[string]guard.NodeSet{
			"node 0": {0}, "node 1023": {1023}, "nodes 0-1": {0, 1}, "4 nodes": {0, 2, 4, 6}, "16 nodes": {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
		} {
			for what, name := range hostile {
				explain := explained(t, name)
				t.Run(fmt.Sprint(cause, "/", node, "/", what), func(t *testing.T) {
					v := refused(cause, nodes, name)
					line := words.Line(v)
					want := want
					if strings.Contains(want, "%s") {
						want = fmt.Sprintf(want, node)
					}
					if !strings.Contains(line[:30], want[:min(len(want), 30)]) {
						t.Errorf("cut it says %q, want %q in it", line[:30], want)
					}
					if most := 1023 - 208 - len(name); len(line) > most {
						t.Errorf("it has %d bytes, want %d at most", len(line), most)
					}
					if strings.ContainsFunc(line, func(r rune) bool { return !strconv.IsPrint(r) }) {
						t.Errorf("it is no plain line: %q", line)
					}
					if !strings.HasSuffix(line, explain) {
						t.Errorf("it does not end in the command %q: %s", explain, line)
					}
				})
			}
		}
	}
}

const uuid = "6d0f1a52-4a5e-4c5e-9b1d-70a5e000005e"

// explained returns the command that a line ends in, which a shell is to take for one of the domain with that name.
func explained(t *testing.T, name string) string {
	line := words.Line(refused(guard.CauseOVS, guard.NodeSet{0}, name))
	command := line[strings.LastIndex(line, "hugeguard explain"):]
	said, err := exec.Command("sh", "-c", `hugeguard() { printf '%s:' "$@"; }; `+command).Output()
	if got := string(said); err != nil || got != "explain:"+name+":" && got != "explain:"+uuid+":" {
		t.Errorf("a shell takes %s for %q: %v", command, said, err)
	}
	return command
}

// refused is a refusal where everything that can be named has a name.
func refused(cause guard.Cause, nodes guard.NodeSet, name string) fix.Verdict {
	f := guard.Finding{Backend: "ram-node0", Nodes: nodes, PageKiB: 2048, Needed: 1 << 40, Free: 1 << 39, Total: 1 << 41}
	holder := guard.Holder{Name: name, PID: 1 << 22, Unit: name, PageKiB: 2048, Pages: map[int]uint64{nodes[0]: 1 << 40}, Reserved: 1 << 40}
	v := fix.Verdict{Verdict: guard.Verdict{Decision: guard.Refuse, Cause: cause, Holders: &guard.Holders{Unreadable: []guard.Process{{Name: name, PID: 7}}, Cut: true},
		Domain: guard.Domain{Name: name, UUID: uuid},
		Lack:   guard.Lack{Unaccounted: 1 << 40, Reserved: 1 << 40, Others: []guard.NodePool{{Node: 1022, Free: 1 << 40}}}}}
	short := guard.Short{Starting: []string{name, name, name, name}, Claimed: 1 << 38, Keeper: "/" + name}
	f.Reason = short
	switch cause {
	case guard.CauseOVS:
		holder.Kind = guard.HolderOVS
	case guard.CauseGuests, guard.CauseStartingGuests:
		holder.Kind = guard.HolderGuest
	case guard.CauseLeftoverFiles:
		holder.Kind, holder.Files = guard.HolderFile, []string{"/dev/hugepages/" + name, "/" + name}
		v.Fixes = []fix.Fix{fix.DeleteFiles{Holders: []guard.Holder{holder}, Certain: true}}
	case guard.CausePageSizeUnsupported:
		f.Reason = guard.NoSuchPages{Sizes: []uint64{64, 1 << 20}}
	case guard.CauseMountLimit:
		f.Reason = guard.MountFull{Path: "/" + name}
		v.Fixes = []fix.Fix{fix.RaiseLimits{Limits: []fix.Limit{{Path: "/" + name, PageKiB: 2048, Pages: 1, Mount: true}}}}
	case guard.CauseCgroupLimit:
		f.Reason = guard.GroupFull{File: "/" + name, Reserved: true}
		v.Fixes = []fix.Fix{fix.RaiseLimits{Limits: []fix.Limit{{Path: "/" + name, PageKiB: 2048, Pages: 1}}}}
	case guard.CauseSizeMismatch:
		f.Reason = guard.WrongSize{Why: guard.NoMultiple, KiB: 2049}
	case guard.CauseBindingImpossible:
		f.Reason = guard.Unbindable{Why: guard.CgroupNodes, File: "/" + name, Kept: nodes}
	default:
		holder.Kind = guard.HolderProcess
	}
	v.Blame = guard.Blame{Cause: cause, Holders: []guard.Holder{holder}}
	v.Findings = []guard.Finding{f}
	return v
}
