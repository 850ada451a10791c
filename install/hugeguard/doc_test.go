package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"golang.org/x/tools/txtar"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/sysfs/sysfstest"
	"hugeguard/testdata/golden"
	"hugeguard/testdata/shown"
)

const repository = "../.."

// documents reads all of the documentation.
func documents(t *testing.T) (docs []*shown.Doc) {
	t.Helper()
	names, err := shown.Files(repository)
	if err != nil || len(names) < 10 {
		t.Fatalf("documents: %q, %v", names, err)
	}
	for _, name := range names {
		d, err := shown.Read(repository, name)
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, d)
	}
	return docs
}

// TestDocShown: whatever the documentation shows is what comes of it now.
func TestDocShown(t *testing.T) {
	stages := map[string]stage{} // no command changes one
	at := func(about string) stage {
		if _, ok := stages[about]; !ok {
			stages[about] = newStage(t, about)
		}
		return stages[about]
	}
	for _, d := range documents(t) {
		t.Run(d.Name, func(t *testing.T) {
			fresh := map[*shown.Block][]string{}
			for _, b := range d.Blocks {
				line := fmt.Sprintf("%s:%d", d.Name, b.Line)
				switch b.Mark {
				case "shows":
					fresh[b] = at(b.About).answers(t, line, b)
				case "runs":
					at(b.About).answers(t, line, b)
				case "ends":
					fresh[b] = at(b.About).ending(t)
				case "cut":
					fresh[b] = []string{at(b.About).verdict(t).Summary[:30]}
				case "explains":
					fresh[b] = at(b.About).explanation(t)
				case "file":
					text, err := os.ReadFile(filepath.Join(repository, b.About))
					if err != nil {
						t.Errorf("%s: %v", line, err)
					}
					fresh[b] = strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
				}
			}
			path := filepath.Join(repository, d.Name)
			old, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text := d.With(fresh)
			if golden.Updating() && !t.Failed() {
				err = os.WriteFile(path, []byte(text), 0o644)
				if err != nil {
					t.Fatal(err)
				}
			} else if diff := cmp.Diff(string(old), text); diff != "" {
				t.Errorf("go test ./install/hugeguard -run TestDoc -update would change %s (-is +will be):\n%s", d.Name, diff)
			}
		})
	}
}

// TestDocCommands: every command is run by a test or is one of a short list that says why it is not, and no command
// hides where nobody looks for one.
func TestDocCommands(t *testing.T) {
	hidden := regexp.MustCompile(`^(?:    |\t)\s*(?:\$ )?(?:sudo |hugeguard |make |virsh |journalctl |go |systemctl |apt|dnf |rpm |dpkg |ansible|docker |podman |echo |cat |grep )`)
	listed := map[string]bool{}
	for _, d := range documents(t) {
		for n, line := range d.Outside() {
			if hidden.MatchString(line) {
				t.Errorf("%s:%d: a command in no block: %s", d.Name, n, line)
			}
		}
		for _, b := range d.Blocks {
			commands := b.Commands()
			if len(commands) == 0 && (b.Language == "console" || b.Language == "sh" || b.Language == "shell" || b.Language == "bash") {
				t.Errorf("%s:%d: a block of commands without a command", d.Name, b.Line)
			}
			for i, line := range b.Lines {
				if len(commands) == 0 && hidden.MatchString("    "+line) && b.Mark != "explains" && b.Mark != "file" {
					t.Errorf("%s:%d: a command in a block of other things: %s", d.Name, b.Line+i, line)
				}
			}
			for _, c := range commands {
				plain := c.Plain()
				if _, ok := shown.Elsewhere[plain]; ok {
					listed[plain] = true
				} else if is, err := tier(plain); b.Mark == "" && is && err != nil {
					t.Errorf("%s:%d: %s: %v", d.Name, c.Line, plain, err)
				} else if b.Mark == "" && !is {
					t.Errorf("%s:%d: no test runs %q", d.Name, c.Line, plain)
				}
			}
		}
	}
	for c := range shown.Elsewhere {
		if !listed[c] {
			t.Errorf("the list has %q, which is shown nowhere", c)
		}
	}
}

// tier says whether a command runs tests: these run by themselves and not one within the other. What can be wrong with
// it is that there is no such target, package or test.
func tier(command string) (is bool, wrong error) {
	words := strings.Fields(strings.ReplaceAll(command, "'", ""))
	for len(words) > 0 && strings.Contains(words[0], "=") {
		words = words[1:]
	}
	if len(words) < 2 {
		return false, nil
	}
	switch strings.Join(words[:min(len(words), 2)], " ") {
	case "go test", "go run":
		return true, runs(words[1], words[2:])
	}
	if words[0] != "make" {
		return false, nil
	}
	text, err := os.ReadFile(filepath.Join(repository, "Makefile"))
	if err != nil {
		return true, err
	}
	for _, target := range words[1:] {
		if !strings.Contains(target, "=") && !strings.Contains(string(text), "\n"+target+":") {
			return true, fmt.Errorf("no target %s", target)
		}
	}
	return true, nil
}

// runs says what of go's arguments is not there.
func runs(verb string, args []string) error {
	var sources strings.Builder
	for i, arg := range args {
		if !strings.HasPrefix(arg, "./") {
			continue
		}
		files, err := filepath.Glob(filepath.Join(repository, arg, "*.go"))
		if err != nil || len(files) == 0 {
			return fmt.Errorf("no package %s", arg)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			sources.Write(text)
		}
		if verb == "run" {
			args = args[:i] // what follows is the program's own
			break
		}
	}
	for i, arg := range args {
		if (arg != "-run" && arg != "-fuzz") || i+1 == len(args) || args[i+1] == "^$" {
			continue
		}
		name := strings.Trim(args[i+1], "^$")
		if !regexp.MustCompile(`(?m)^func ` + name).MatchString(sources.String()) {
			return fmt.Errorf("no test %s", name)
		}
	}
	return nil
}

// TestDocInline: what the text calls a command of hugeguard's, in passing, is one, with these options.
func TestDocInline(t *testing.T) {
	span := regexp.MustCompile("`(hugeguard [^`]+)`")
	some := false
	for _, d := range documents(t) {
		for n, line := range d.Outside() {
			for _, found := range span.FindAllStringSubmatch(line, -1) {
				some = true
				if err := known(strings.Fields(found[1])[1:]); err != nil {
					t.Errorf("%s:%d: %s: %v", d.Name, n, found[1], err)
				}
			}
		}
	}
	if !some {
		t.Error("none found")
	}
}

// known says what of the words is no command or option.
func known(words []string) error {
	root := newRoot()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpFlag()
	root.InitDefaultVersionFlag()
	c, rest, err := root.Find(words)
	if err != nil {
		return err
	}
	c.InitDefaultHelpFlag()
	if c == root && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return fmt.Errorf("no command %s", rest[0])
	}
	for _, word := range rest {
		if name, option := strings.CutPrefix(word, "--"); option {
			if name, _, _ = strings.Cut(name, "="); c.Flags().Lookup(name) == nil {
				return fmt.Errorf("%s has no option %s", c.CommandPath(), word)
			}
		}
	}
	return nil
}

// TestDocLinks: what a document links to in the repository is there.
func TestDocLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:\s]+)(?:#[^)]*)?\)`)
	some := false
	for _, d := range documents(t) {
		for n, line := range d.Outside() {
			for _, found := range link.FindAllStringSubmatch(line, -1) {
				some = true
				if _, err := os.Stat(filepath.Join(repository, filepath.Dir(d.Name), found[1])); err != nil {
					t.Errorf("%s:%d: %v", d.Name, n, err)
				}
			}
		}
	}
	if !some {
		t.Error("none found")
	}
}

// TestDocMap: CONTRIBUTING.md names every package, and every file that it names is there; testdata/README.md names all
// that lies in testdata.
func TestDocMap(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(repository, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	contributing := read("CONTRIBUTING.md")
	packages := map[string]bool{}
	err := filepath.WalkDir(repository, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (d.Name() == "testdata" || d.Name() == ".git") {
			return fs.SkipDir
		}
		if err == nil && strings.HasSuffix(path, ".go") {
			name, err := filepath.Rel(repository, filepath.Dir(path))
			packages[name] = true
			return err
		}
		return err
	})
	if err != nil || len(packages) < 20 {
		t.Fatalf("the packages are %v, %v", packages, err)
	}
	for name := range packages {
		if !strings.Contains(contributing, "`"+name+"`") {
			t.Errorf("CONTRIBUTING.md does not say what %s is", name)
		}
	}
	for _, named := range regexp.MustCompile("`((?:sysfs|guard|hook|install|testdata)/[A-Za-z0-9_./-]+)`").FindAllStringSubmatch(contributing, -1) {
		if name := strings.Replace(named[1], "NAME", "guests", 1); !strings.HasSuffix(name, "/...") {
			if _, err := os.Stat(filepath.Join(repository, name)); err != nil {
				t.Errorf("CONTRIBUTING.md: %v", err)
			}
		}
	}
	entries, err := os.ReadDir(filepath.Join(repository, "testdata"))
	if err != nil || len(entries) < 20 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	readme := read("testdata/README.md")
	for _, entry := range entries {
		name := entry.Name()
		if entry.IsDir() {
			name += "/"
		}
		if name != "README.md" && !strings.Contains(readme, "`"+name+"`") {
			t.Errorf("testdata/README.md does not say what %s is", name)
		}
	}
}

// TestDocCauses: every cause has a page that shows a launch refused for it, and warnings have one; the index and the
// README lead to each.
func TestDocCauses(t *testing.T) {
	const folder = "install/doc/causes/"
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(repository, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	index, readme := read("install/doc/README.md"), read("README.md")
	pages := map[string]*shown.Doc{}
	for _, d := range documents(t) {
		if page, ok := strings.CutPrefix(d.Name, folder); ok {
			pages[strings.TrimSuffix(page, ".md")] = d
		}
	}
	for _, cause := range append(guard.Causes(), "warning") {
		page := string(cause)
		if !strings.Contains(index, "\n| ["+page+"](causes/"+page+".md) | ") {
			t.Errorf("install/doc/README.md does not lead to causes/%s.md", page)
		}
		if !strings.Contains(readme, "("+folder+page+".md)") {
			t.Errorf("README.md does not lead to %s%s.md", folder, page)
		}
		if cause != "warning" && !strings.Contains(readme, "\n| [`"+page+"`]("+folder+page+".md) | ") {
			t.Errorf("README.md has no row of %s", page)
		}
		d, ok := pages[page]
		delete(pages, page)
		if !ok {
			t.Errorf("there is no %s%s.md", folder, page)
			continue
		}
		if !strings.HasPrefix(read(d.Name), "# `"+page+"`: ") {
			t.Errorf("%s has another title", d.Name)
		}
		var explained, cut []string
		for _, b := range d.Blocks {
			switch b.Mark {
			case "explains":
				explained = append(explained, newStage(t, b.About).verdict(t).cause())
			case "cut":
				cut = append(cut, newStage(t, b.About).verdict(t).cause())
			}
		}
		if !slices.Equal(explained, []string{page}) {
			t.Errorf("%s explains %q", d.Name, explained)
		}
		if cause != "warning" && !slices.Equal(cut, []string{page}) {
			t.Errorf("%s shows how the line looks cut of %q", d.Name, cut)
		}
	}
	for page := range pages {
		t.Errorf("%s%s.md is of no cause", folder, page)
	}
}

// TestHelpExamples: every example in the help, and so in the manual page, is a command with these options.
func TestHelpExamples(t *testing.T) {
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		for _, line := range strings.Split(c.Example, "\n") {
			for _, part := range strings.Split(shown.Command{Text: line}.Plain(), "|") {
				words := strings.Fields(part)
				if len(words) > 0 && words[0] == "sudo" {
					words = words[1:]
				}
				if len(words) == 0 || words[0] != "hugeguard" {
					continue
				}
				if err := known(words[1:]); err != nil {
					t.Errorf("%s: %v", line, err)
				}
			}
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(newRoot())
}

// holderFile is what the kernel shows of one process. Where that is hidden, the launch ends as it did.
var holderFile = regexp.MustCompile(`^proc/[0-9]+/`)

// A stage is a copy of a captured host, on which commands run that are shown.
type stage struct{ host sysfstest.Host }

// newStage builds what a mark calls a host. Nobody knows how a launch ends on one that is changed, unless the change
// brings a truth.json of its own, or does no more than hide what others hold.
func newStage(t *testing.T, about string) stage {
	t.Helper()
	name, change, changed := strings.Cut(about, " with ")
	var s stage
	folder := filepath.Join(repository, "testdata", name)
	if _, err := os.Stat(folder + ".txtar"); err == nil {
		s.host = sysfstest.Archive(t, folder+".txtar")
	} else {
		s.host = sysfstest.Copy(t, filepath.Join(folder, "host"))
		for _, file := range []string{"prepare.xml", "truth.json"} {
			text, err := os.ReadFile(filepath.Join(folder, file))
			if errors.Is(err, fs.ErrNotExist) && file == "truth.json" {
				continue // that launch was made with hugeguard
			}
			if err != nil {
				t.Fatal(err)
			}
			s.host.Write(file, string(text))
		}
	}
	if changed {
		archive, err := txtar.ParseFile(filepath.Join(repository, "testdata/shown", change+".txtar"))
		if err != nil {
			t.Fatal(err)
		}
		same := len(archive.Files) == 0
		for _, line := range strings.Split(string(archive.Comment), "\n") {
			if file, ok := strings.CutPrefix(line, "no file: "); ok {
				s.host.Remove(file)
				same = same && holderFile.MatchString(file)
			}
		}
		if !same {
			s.host.Remove("truth.json")
		}
		for _, f := range archive.Files {
			s.host.Write(f.Name, string(f.Data))
		}
	}
	xml, err := os.ReadFile(s.host.Path("prepare.xml"))
	if err != nil {
		t.Fatal(err)
	}
	demand, err := domain.Parse(xml)
	if err != nil {
		t.Fatal(err)
	}
	s.host.Write("etc/libvirt/qemu/"+demand.Domain.Name+".xml", string(xml))
	return s
}

// play has the commands that need a running libvirt and its journal say what they would after the start of a guest of
// that host ("..." is the daemon's environment): what the hook says is what check says, and where there is more (TestCheckSaysWhatTheHookWillSay
// in testdata/livehost).
const play = `
hugeguard() { sub=$1; shift; command hugeguard "$sub" --root "$HOST" "$@"; }
sudo() { "$@"; }
judge() { hugeguard check "$HOST/prepare.xml"; }
line() {
	hugeguard check --json "$HOST/prepare.xml" |
		sed -e 's/.*"summary":"//' -e 's/","demand":.*//' -e 's/\\u003e/>/g' -e 's/\\u0026/\&/g' -e 's/\\"/"/g'
}
virsh() {
	[ "$1 $#" = "start 2" ] || { echo "virsh $* cannot be played" >&2; exit 2; }
	judge >/dev/null && { echo "Domain '$2' started"; return; }
	printf "error: Failed to start domain '%s'\nerror: Hook script execution failed: internal error: Child process (" "$2"
	printf '... /etc/libvirt/hooks/qemu %s prepare begin -) unexpected exit status 1: %s\n' "$2" "$(line)"
}
journalctl() {
	[ "$*" = "-t hugeguard -o cat" ] || { echo "journalctl $* cannot be played" >&2; exit 2; }
	line
	judge | tail -n +2
}
`

var hostFile = regexp.MustCompile(`(^|[\s='"])/(sys|proc|etc|run|var|dev)/`)

// answers runs a block's commands, and returns its lines with what these answer. Only such as the command's own exit
// statuses 0, 3 and 4 are no failure, and grep's 1.
func (s stage) answers(t *testing.T, at string, b *shown.Block) (lines []string) {
	t.Helper()
	host, dir := strings.TrimSuffix(s.host.Path(""), "/"), t.TempDir() // where they run, and write what they do
	for name, target := range map[string]string{"DIR": host, "FILE.xml": s.host.Path("prepare.xml"), "guest.xml": s.host.Path("prepare.xml")} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range b.Commands() {
		lines = append(lines, "$ "+c.Text)
		if _, elsewhere := shown.Elsewhere[c.Plain()]; elsewhere {
			lines = append(lines, c.Answer...)
			continue
		}
		cmd := exec.Command("sh", "-c", play+hostFile.ReplaceAllString(c.Text, "$1$$HOST/$2/"))
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "HOST="+host, "LC_ALL=C.UTF-8", "COLUMNS=100", "NO_COLOR=1", "TZ=UTC")
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		cmd.Run()
		status := cmd.ProcessState.ExitCode()
		fine := status == exitOK || status == exitRefused || status == exitNotLive || status == 1 && strings.HasPrefix(c.Text, "grep ")
		if !fine {
			t.Errorf("%s: %s: exit status %d: %s%s", at, c.Text, status, &out, &errs)
		}
		if b.Mark == "shows" && out.Len() == 0 {
			t.Errorf("%s: %s: no answer: %s", at, c.Text, &errs)
		}
		if text := strings.TrimSuffix(strings.ReplaceAll(out.String(), host+"/", "/"), "\n"); text != "" {
			lines = append(lines, strings.Split(text, "\n")...)
		}
	}
	return lines
}

// ending returns how the launch ended without hugeguard.
func (s stage) ending(t *testing.T) []string {
	t.Helper()
	var truth struct{ Error string }
	if _, err := os.Stat(s.host.Path("truth.json")); err != nil {
		t.Fatal("nobody saw how the launch ends on this host: ", err)
	}
	s.read(t, "truth.json", &truth)
	said := regexp.MustCompile(`(?m)qemu-system-\S+: .*$`).FindAllString(truth.Error, -1)
	if len(said) == 0 {
		t.Fatalf("it ended with %q", truth.Error)
	}
	return said[len(said)-1:]
}

func (s stage) read(t *testing.T, name string, v any) {
	t.Helper()
	text, err := os.ReadFile(s.host.Path(name))
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// judged is what the tests read of check --json.
type judged struct {
	Domain   struct{ Name string }
	Decision string
	Cause    string
	Summary  string
	Findings []struct {
		PageKiB             uint64 `json:"page_kib"`
		Needed, Free, Total uint64
	}
}

// cause is the name of the page about it.
func (j judged) cause() string {
	if j.Decision == string(guard.Warn) {
		return "warning"
	}
	return j.Cause
}

func (s stage) verdict(t *testing.T) (j judged) {
	t.Helper()
	var out, errs bytes.Buffer
	Run(context.Background(), []string{"check", "--root", s.host.Path(""), "--json", s.host.Path("prepare.xml")}, nil, &out, &errs)
	if err := json.Unmarshal(out.Bytes(), &j); err != nil {
		t.Fatalf("%v: %s%s", err, &out, &errs)
	}
	if len(j.Findings) == 0 {
		t.Fatalf("there is nothing to explain: %s", &out)
	}
	return j
}

// explanation returns the entry of the message catalog on the launch, as journalctl -x fills it in.
func (s stage) explanation(t *testing.T) []string {
	t.Helper()
	j := s.verdict(t)
	text, err := os.ReadFile("../shipped/hugeguard.catalog")
	if err != nil {
		t.Fatal(err)
	}
	_, entry, ok := strings.Cut(string(text), "-- "+guard.Verdict{Cause: guard.Cause(j.Cause)}.MessageID()+"\n")
	if !ok {
		t.Fatalf("the catalog has nothing of %s", j.cause())
	}
	entry, _, _ = strings.Cut(entry, "\n-- ")
	_, body, _ := strings.Cut(entry, "\n\n")
	f := j.Findings[0]
	body = strings.NewReplacer(
		"@HUGEGUARD_DOMAIN@", guard.Printable(j.Domain.Name, 60),
		"@HUGEGUARD_NEEDED@", fmt.Sprint(f.Needed), "@HUGEGUARD_FREE@", fmt.Sprint(f.Free),
		"@HUGEGUARD_TOTAL@", fmt.Sprint(f.Total), "@HUGEGUARD_PAGE_KIB@", fmt.Sprint(f.PageKiB),
	).Replace(strings.TrimSpace(body))
	var lines []string
	for i, paragraph := range strings.Split(body, "\n\n") {
		if i > 0 {
			lines = append(lines, ">")
		}
		line := ">"
		for _, word := range strings.Fields(paragraph) {
			if len(line)+1+len(word) > 120 {
				lines, line = append(lines, line), ">"
			}
			line += " " + word
		}
		lines = append(lines, line)
	}
	return lines
}
