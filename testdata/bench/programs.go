package main

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
)

// moduleRoot is the folder of go.mod.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	mod := strings.TrimSpace(string(out))
	if err != nil || filepath.Base(mod) != "go.mod" {
		return "", fmt.Errorf("not in the module's folder (go env GOMOD: %q, %v)", mod, err)
	}
	return filepath.Dir(mod), nil
}

// build compiles a program as the packages do, and copies it as an install does: from
// a file that the linker has written a program starts a tenth slower, as the kernel
// keeps its pages one by one.
func build(root, source, to string) error {
	linked := to + ".linked"
	cmd := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", linked, source)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", source, err, out)
	}
	program, err := os.ReadFile(linked)
	if err != nil {
		return err
	}
	return os.WriteFile(to, program, 0o700)
}

//go:embed domain.xml.tmpl
var domainXML string

// writeDomains writes the three domains for a host with so many free pages:
// one on small pages, one that fits and one that does not, though it would
// without the holder. They are Nova's, with two cells, as libvirt prints them,
// and differ in nothing else.
func (b *bench) writeDomains(free int) error {
	tmpl, err := template.New("domain").Parse(domainXML)
	if err != nil {
		return err
	}
	short := (free + held/2) / 2 // pages of a cell
	for call, domain := range map[string]struct {
		Huge      bool
		Cell, RAM int // KiB
	}{
		other: {Huge: true, Cell: fitting * pageKiB, RAM: 2 * fitting * pageKiB},
		small: {Cell: fitting * pageKiB, RAM: 2 * fitting * pageKiB},
		fits:  {Huge: true, Cell: fitting * pageKiB, RAM: 2 * fitting * pageKiB},
		whole: {Huge: true, Cell: fitting * pageKiB, RAM: 2 * fitting * pageKiB},
		lacks: {Huge: true, Cell: short * pageKiB, RAM: 2 * short * pageKiB},
	} {
		var text strings.Builder
		if err := tmpl.Execute(&text, domain); err != nil {
			return err
		}
		if err := os.WriteFile(b.domain(call), []byte(text.String()), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// domain is the file that a call has as its standard input.
func (b *bench) domain(call string) string {
	return filepath.Join(b.dir, strings.NewReplacer(" ", "-", ",", "").Replace(call)+".xml")
}

func (b *bench) series(program, call string, exit int) *series {
	operations := []string{call}
	if call == whole {
		operations = []string{"prepare begin", "start begin", "started begin", "stopped end", "release end"}
	}
	var calls [][]string
	for _, operation := range operations {
		words := strings.Fields(strings.ReplaceAll(operation, ",", ""))
		calls = append(calls, []string{"instance-00000006", words[0], words[1], "-"})
	}
	return &series{
		program: program,
		call:    call,
		path:    b.programs[program],
		calls:   calls,
		stdin:   b.domain(call),
		exit:    exit,
	}
}

// introduce shows what each program says when it refuses, as a proof that all
// of them make the check that is timed.
func (b *bench) introduce() error {
	fmt.Println("the same refusal from each:")
	for _, s := range b.prepares() {
		if s.call != lacks {
			continue
		}
		stderr, err := os.Create(filepath.Join(b.dir, "stderr"))
		if err != nil {
			return err
		}
		_, err = s.once(stderr)
		stderr.Close()
		text, readErr := os.ReadFile(stderr.Name())
		if err != nil {
			return fmt.Errorf("%w; it said %q", err, text)
		}
		if readErr != nil {
			return readErr
		}
		fmt.Printf("%-14s %s\n", s.program, strings.TrimSpace(string(text)))
	}
	return nil
}
