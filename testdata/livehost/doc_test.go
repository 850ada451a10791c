package livehost

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hugeguard/testdata/shown"
)

// programs puts the product's programs where packages do.
func (s *scene) programs() {
	s.t.Helper()
	s.must(s.build())
	for from, to := range map[string]string{s.cliLibvirt: "/usr/bin/hugeguard", s.hook: "/usr/lib/hugeguard/qemu"} {
		text, err := os.ReadFile(from)
		s.must(err)
		s.must(os.MkdirAll(filepath.Dir(to), 0o755))
		os.Remove(to)
		s.must(os.WriteFile(to, text, 0o755))
		s.t.Cleanup(func() { os.Remove(to) })
	}
}

// Every command that the documentation shows and that takes a real host does on this one what it says: starts are
// refused in these words, and everything else succeeds.
func TestDocumentation(t *testing.T) {
	const root = "../.."
	names, err := shown.Files(root)
	if err != nil {
		t.Fatal(err)
	}
	s := begin(t, 256)
	s.installGuard()
	// A start with a warning, a leftover file, a start that would have been refused, and one that was.
	s.must(s.startDatabase(464))
	warned, d := domain{name: "warned", mib: 96, cells: 1}, domain{name: "DOMAIN", mib: 64, cells: 1}
	s.define(warned)
	_, _, err = s.start(warned)
	s.must(err)
	s.virsh("destroy", warned.name)
	s.must(s.stopOVS())
	s.ovsHolds(ovsVswitchd, 24) // which clears the mount when it starts
	s.hold("crashed", file, 2).release()
	t.Cleanup(func() { os.Remove(leftover) })
	s.define(d)
	s.configure("mode = warn")
	s.start(d)
	s.configure("")
	s.refused(d)

	defined, done := map[string]bool{d.name: true}, map[string]bool{}
	// Such as it shows are domains here, and are refused.
	define := func(name string) {
		if !defined[name] {
			defined[name] = true
			s.define(domain{name: name, mib: 64, cells: 1})
		}
	}
	for _, name := range names {
		d, err := shown.Read(root, name)
		s.must(err)
		for _, b := range d.Blocks {
			var commands []shown.Command
			for _, c := range b.Commands() {
				words := strings.Fields(c.Plain())
				_, elsewhere := shown.Elsewhere[c.Plain()]
				played := b.Mark == "shows" && (words[0] == "virsh" || words[0] == "journalctl")
				if !elsewhere && !done[c.Plain()] && (b.Mark == "live" || played) {
					commands = append(commands, c)
				}
			}
			if len(commands) == 0 {
				continue
			}
			// The block before may have taken it away.
			s.programs()
			_, err := run("hugeguard", "install")
			s.must(err)
			for _, c := range commands {
				done[c.Plain()] = true
				s.try(fmt.Sprintf("%s:%d", name, c.Line), c, define)
			}
		}
	}
	if len(done) < 20 {
		t.Errorf("the documentation has only %d commands for this host", len(done))
	}
}

// try runs one command that is shown.
func (s *scene) try(at string, c shown.Command, define func(string)) {
	s.t.Helper()
	words := strings.Fields(c.Plain())
	start := len(words) == 3 && words[0] == "virsh" && words[1] == "start"
	if start {
		define(words[2])
	}
	cmd := exec.Command("sh", "-c", "sudo() { \"$@\"; }\n"+c.Text)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "LIBVIRT_DEFAULT_URI=qemu:///system", "ID="+domain{name: "DOMAIN"}.uuid())
	cmd.Dir = s.t.TempDir()
	if slices.Contains(words, "make") {
		cmd.Dir = "../.."
	}
	out, err := cmd.CombinedOutput()
	switch status := cmd.ProcessState.ExitCode(); {
	case start:
		said := strings.Split(strings.TrimSpace(string(out)), "\n")
		if status != 1 || len(said) != 2 || said[0] != "error: Failed to start domain '"+words[2]+"'" {
			s.t.Errorf("%s: %s: status %d: %s", at, c.Text, status, out)
			return
		}
		if len(c.Answer) != 2 { // of a start that is allowed
			return
		}
		// Left out of what is shown is the daemon's environment; after the colon it is another refusal.
		shape, _, _ := strings.Cut(c.Answer[1], "unexpected exit status 1: ")
		before, after, _ := strings.Cut(shape, "...")
		if !strings.HasPrefix(said[1], before) || !strings.Contains(said[1], after) || !strings.HasSuffix(said[1], "; more: hugeguard explain "+words[2]) {
			s.t.Errorf("%s: %s: libvirt says\n%s\nshown is\n%s", at, c.Text, said[1], c.Answer[1])
		}
	case status == 0 && strings.HasPrefix(string(out), "-- No entries --") && !strings.Contains(c.Text, "||"):
		s.t.Errorf("%s: %s: %s", at, c.Text, out)
	case status == 0:
		s.t.Logf("%s: %s: %d bytes", at, c.Text, len(out))
	case status == 1 && (words[0] == "grep" || words[0] == "find"):
	default:
		s.t.Errorf("%s: %s: %v: %s", at, c.Text, err, out)
	}
}

// So do the examples in the help, which are those of the manual page.
func TestHelp(t *testing.T) {
	s := begin(t, 256)
	s.installGuard()
	s.hold("packetmover", touched, 240)
	s.define(domain{name: "instance-00000003", mib: 64, cells: 1})
	s.must(os.MkdirAll("/var/lib/prometheus/node-exporter", 0o755))
	s.programs()
	text, err := run("hugeguard", "help")
	s.must(err)
	_, list, _ := strings.Cut(text, "\nAvailable Commands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	tried := 0
	for _, line := range append([]string{""}, strings.Split(list, "\n")...) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "completion" || name == "help" { // cobra's own
			continue
		}
		// Names that an example may use.
		dir := t.TempDir()
		s.must(os.CopyFS(filepath.Join(dir, "DIR"), os.DirFS("../hosts/plain/host")))
		xml, err := os.ReadFile("../hosts/plain/prepare.xml")
		s.must(err)
		for _, file := range []string{"instance-00000003.xml", "other.xml", "FILE.xml"} {
			s.must(os.WriteFile(filepath.Join(dir, file), xml, 0o644))
		}
		s.must(os.WriteFile(filepath.Join(dir, "hugeguard.conf.new"), []byte("mode = warn\n"), 0o644))
		if name != "capture" {
			_, err := run("hugeguard", "capture", filepath.Join(dir, "host.tar"))
			s.must(err)
		}
		text, err := run(append([]string{"hugeguard", "help"}, strings.Fields(name)...)...)
		s.must(err)
		_, examples, _ := strings.Cut(text, "\nExamples:\n")
		examples, _, _ = strings.Cut(examples, "\n\n")
		for _, example := range strings.Split(examples, "\n") {
			if example = strings.TrimSpace(example); example == "" {
				continue
			}
			tried++
			s.programs()
			if _, err := run("hugeguard", "install"); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("timeout", "-s", "INT", fmt.Sprint(patience.Seconds()), "sh", "-c", "sudo() { \"$@\"; }\n"+example)
			if strings.Contains(example, "--watch") {
				cmd.Args[3] = "2"
			}
			cmd.Env = append(os.Environ(), "LC_ALL=C", "LIBVIRT_DEFAULT_URI=qemu:///system")
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			fine := []int{0, 3} // what check may say
			switch {
			case strings.Contains(example, "status --root"): // of another host
				fine = []int{0, 4}
			case strings.Contains(example, "--watch"):
				fine = []int{124}
			case strings.Contains(example, "reserve --write"): // there is no Nova here
				fine = []int{1}
				s.says(string(out), "this host shows no sign of Nova, so there is nothing to write")
			}
			if !slices.Contains(fine, cmd.ProcessState.ExitCode()) {
				t.Errorf("%s: %v: %s", example, err, out)
			}
		}
	}
	if tried < 15 {
		t.Errorf("the help has only %d examples", tried)
	}
}

// The example for Ansible does what it says, for packages that are there already: settings before all else, the proof at
// last, nothing the second time.
func TestPlaybook(t *testing.T) {
	s := begin(t, 64)
	s.installGuard()
	s.must(os.Remove(configuration))
	d := domain{name: "squeezed", mib: 64, cells: 1}
	s.define(d)
	s.hold("packetmover", touched, 40)
	inventory := filepath.Join(t.TempDir(), "inventory")
	s.must(os.WriteFile(inventory, []byte("[compute]\nlocalhost ansible_connection=local ansible_become=false ansible_python_interpreter=/usr/bin/python3\n"), 0o644))
	playbook, err := filepath.Abs("../../install/doc/hugeguard.yml")
	s.must(err)
	play := func(args ...string) (out string, changed bool) {
		t.Helper()
		cmd := exec.Command("ansible-playbook", append([]string{"-i", inventory, playbook}, args...)...)
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "ANSIBLE_NOCOLOR=1", "LC_ALL=C.UTF-8")
		text, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("ansible-playbook %s: %v\n%s", strings.Join(args, " "), err, text)
		}
		return string(text), !strings.Contains(string(text), "changed=0 ")
	}
	play("--syntax-check")
	here := func(args ...string) (string, bool) {
		return play(append(args, "--skip-tags", "package", "-e", `{"hugeguard_settings": {"deadline": "1m"}}`)...)
	}

	if _, changed := here("--check"); !changed { // and without hugeguard
		t.Error("on a host without settings --check says that nothing is to do")
	}
	if _, err := os.Stat(configuration); !os.IsNotExist(err) {
		t.Errorf("--check has written it: %v", err)
	}
	s.programs()
	here()
	if _, _, err := s.start(d); !s.died(d, err, qemuNoPages) {
		t.Errorf("to warn: start: %v; want QEMU's %q", err, qemuNoPages)
	}
	if out, changed := here(); changed {
		t.Errorf("the second time something is changed:\n%s", out)
	}
	here("-e", "hugeguard_mode=enforce")
	s.launches(d)
	s.refused(d)

	// A value that the hook does not follow ends the play, and leaves the settings that there are.
	cmd := exec.Command("ansible-playbook", "-i", inventory, playbook, "--skip-tags", "package", "-e", "hugeguard_mode=enfroce")
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "ANSIBLE_NOCOLOR=1", "LC_ALL=C.UTF-8")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "enfroce") {
		t.Errorf("a wrong mode: %v\n%s", err, out)
	}
	if text, err := os.ReadFile("/etc/hugeguard.conf"); err != nil || !strings.Contains(string(text), "mode = enforce\n") {
		t.Errorf("a wrong mode leaves %q, %v", text, err)
	}
	here("-e", "hugeguard_state=absent")
	if _, err := os.Stat(configuration); !os.IsNotExist(err) {
		t.Errorf("the settings are left: %v", err)
	}
}
