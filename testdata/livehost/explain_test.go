package livehost

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// What the journal has of a refusal is explained, by name, by UUID and as the last one, with the fixes as of now.
func TestExplain(t *testing.T) {
	s := begin(t, 64)
	s.installGuard()
	d := domain{name: "explained", mib: 64, cells: 1}
	s.define(d)
	h := s.hold("packetmover", touched, 40)
	line, e := s.turnedAway(d)
	line, _, _ = strings.Cut(line, "; more: ")
	for _, who := range [][]string{{d.name}, {strings.ToUpper(d.uuid())}, {}} {
		for how, program := range s.commands() {
			text := s.command(program, 0, append([]string{"explain"}, who...)...)
			s.inOrder(how, text, d.name+" ("+d.uuid()+") was refused, cause other-holder:\n  "+line+"\nnow it would be refused:\n  "+line+"\n",
				"\n    kill "+itoa(h.pid())+"\n")
		}
	}

	// The fix of now is another: somebody else has them.
	h.release()
	other := s.hold("newcomer", touched, 50)
	s.inOrder("", s.command(s.cli, 0, "explain", d.name), "was refused, cause other-holder:\n  "+line+"\nnow it would be refused:\n", "newcomer (pid "+itoa(other.pid())+")",
		"\n    kill "+itoa(other.pid())+"\n")

	// A second entry, of a guard that only warns.
	s.configure("mode = warn")
	if _, _, err := s.start(d); err == nil {
		t.Error("QEMU started without pages")
	}
	s.inOrder("", s.command(s.cli, 0, "explain", d.name), "was to be refused, and was allowed", "earlier entries about it: 1, see journalctl -t hugeguard HUGEGUARD_UUID="+d.uuid())
	s.configure("")

	other.release()
	s.inOrder("", s.command(s.cli, 0, "explain", d.name), "now it would be allowed:\n")
	s.starts(d)
	s.inOrder("", s.command(s.cliLibvirt, 0, "explain", d.name), "now: it runs\n")
	s.virsh("destroy", d.name)
	s.virsh("undefine", d.name)
	s.inOrder("", s.command(s.cli, 0, "explain", d.uuid()), "now: it is no longer defined here", e.one(t, "HUGEGUARD_UUID"))
}

// Where the journal has nothing that is said, with what would become of the start; so it is for those who may not read
// it.
func TestExplainNothing(t *testing.T) {
	s := begin(t, 8)
	s.installGuard()
	d := domain{name: "never started", mib: 64, cells: 1}
	s.define(d)
	s.inOrder("", s.command(s.cli, 0, "explain", d.name), "the journal has no refusal and no warning of "+d.name+": it begins ", "is lost at each boot", "now it would be refused:\n")
	out, err := run(s.cli, "explain", "nobody")
	if exitStatus(err) != 1 || !strings.Contains(fmt.Sprint(err), `no domain "nobody" is defined here, and the journal has no refusal and no warning of nobody`) {
		t.Errorf("of a domain that does not exist: %v\n%s", err, out)
	}
	var report struct {
		Entry   any    `json:"entry"`
		Nothing string `json:"nothing"`
		Now     checkReport
	}
	if err := json.Unmarshal([]byte(s.command(s.cli, 0, "explain", "--json", d.name)), &report); err != nil || report.Entry != nil || report.Nothing == "" || report.Now.Decision != "refuse" {
		t.Errorf("as JSON: %v, %+v", err, report)
	}

	cmd := exec.Command(s.cli, "explain")
	cmd.Env = cleanEnv()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	text, err := cmd.CombinedOutput()
	if exitStatus(err) != 1 || !strings.Contains(string(text), "the system's journal may not be read: only root and the group systemd-journal can") {
		t.Errorf("as nobody: %v\n%s", err, text)
	}
}

// inOrder wants texts to be in another, one after the other.
func (s *scene) inOrder(how, text string, wants ...string) {
	s.t.Helper()
	rest := text
	for _, want := range wants {
		_, after, ok := strings.Cut(rest, want)
		if !ok {
			s.t.Errorf("%s: no %q in\n%s", how, want, text)
			return
		}
		rest = after
	}
}
