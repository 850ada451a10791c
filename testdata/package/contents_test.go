package package_test

import (
	"bytes"
	"cmp"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

var architectures = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// One source gives the same bytes, wherever it is built.
func TestSameBytes(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(built, "*"))
	if err != nil || len(names) != 6 {
		t.Fatalf("six packages are wanted, there are %q (%v)", names, err)
	}
	for _, name := range names {
		one, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		other, err := os.ReadFile(filepath.Join(again, filepath.Base(name)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(one, other) {
			t.Errorf("two builds of %s differ", filepath.Base(name))
		}
	}
}

// For whom nobody says is the machine at hand.
func TestThisMachine(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(before, "*"))
	if want := []string{rpm(before, older, runtime.GOARCH), policyRPM(before, older), policyDeb(before, older), deb(before, older, runtime.GOARCH)}; err != nil || !slices.Equal(names, want) {
		t.Errorf("built are %q (%v), want %q", names, err, want)
	}
}

// All that is missing is said at once, before anything is built.
func TestMissing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	goProgram, err := exec.LookPath(cmp.Or(os.Getenv("GO"), "go"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"go":                    `echo "$@" >>` + dir + "/asked; [ $1 = env ] && exec " + goProgram + ` "$@"`,
		"gcc":                   "exit 1",
		"aarch64-linux-gnu-gcc": "exit 1",
		"x86_64-linux-gnu-gcc":  "exit 1",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("install/package/build.sh", filepath.Join(dir, "out"))
	cmd.Dir = repository
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "GO=go", "ARCHES=arm64 amd64 s390x", "VERSION="+version)
	text, err := cmd.CombinedOutput()
	for _, want := range []string{"for arm64 (on Debian: apt install ", "for amd64 (on Debian: apt install ", "s390x: packages are only for amd64 and arm64"} {
		if err == nil || !strings.Contains(string(text), want) {
			t.Errorf("it does not say %q, but %s, %v", want, text, err)
		}
	}
	asked, err := os.ReadFile(filepath.Join(dir, "asked"))
	if err != nil {
		t.Fatal(err)
	}
	for _, call := range strings.Split(strings.TrimSpace(string(asked)), "\n") {
		if !strings.HasPrefix(call, "env ") {
			t.Errorf("before it is said Go is asked for %s", call)
		}
	}
}

// common is what both kinds of package have.
const common = `-rwxr-xr-x /usr/bin/hugeguard
-rwxr-xr-x /usr/lib/hugeguard/qemu
-rw-r--r-- /usr/lib/systemd/catalog/hugeguard.catalog
-rw-r--r-- /usr/share/bash-completion/completions/hugeguard
-rw-r--r-- /usr/share/fish/vendor_completions.d/hugeguard.fish
-rw-r--r-- /usr/lib/systemd/system/hugeguard-metrics.service
-rw-r--r-- /usr/lib/systemd/system/hugeguard-metrics.timer
-rw-r--r-- /usr/lib/systemd/system/hugeguard-reserve.service
-rw-r--r-- /usr/lib/systemd/system/hugeguard-reserve.timer
-rw-r--r-- /usr/lib/systemd/system/hugeguard-withdraw.service
-rw-r--r-- /usr/share/hugeguard/hugeguard.conf
-rw-r--r-- /usr/share/hugeguard/hugeguard.json
-rw-r--r-- /usr/share/hugeguard/hugeguard.rules.yml
-rw-r--r-- /usr/share/man/man5/hugeguard.conf.5.gz
-rw-r--r-- /usr/share/man/man8/hugeguard.8.gz
`

const debOnly = `-rw-r--r-- /usr/share/doc/hugeguard/changelog.Debian.gz
-rw-r--r-- /usr/share/doc/hugeguard/changelog.gz
-rw-r--r-- /usr/share/doc/hugeguard/copyright
-rw-r--r-- /usr/share/lintian/overrides/hugeguard
-rw-r--r-- /usr/share/zsh/vendor-completions/_hugeguard
`

const rpmOnly = `drwxr-xr-x /usr/lib/hugeguard
drwxr-xr-x /usr/share/doc/hugeguard
-rw-r--r-- /usr/share/doc/hugeguard/CHANGELOG.md
drwxr-xr-x /usr/share/hugeguard
drwxr-xr-x /usr/share/licenses/hugeguard
-rw-r--r-- /usr/share/licenses/hugeguard/LICENSE
-rw-r--r-- /usr/share/licenses/hugeguard/copyright
-rw-r--r-- /usr/share/zsh/site-functions/_hugeguard
`

// byName sorts lines of "MODE NAME" by the name.
func byName(text string) []string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[11:], b[11:]) })
	return lines
}

// documentation is the pages of the repository, as a package has them.
func documentation(t *testing.T) (pages string, folders string) {
	t.Helper()
	source := os.DirFS(filepath.Join(repository, "install/doc"))
	err := fs.WalkDir(source, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case !d.IsDir():
			pages += "-rw-r--r-- /usr/share/doc/hugeguard/" + name + "\n"
		case name != ".":
			folders += "drwxr-xr-x /usr/share/doc/hugeguard/" + name + "\n"
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return pages, folders
}

func TestContents(t *testing.T) {
	pages, folders := documentation(t)
	for arch := range architectures {
		var got string
		for _, line := range strings.Split(strings.TrimSpace(output(t, "dpkg-deb", "-c", deb(built, version, arch))), "\n") {
			f := strings.Fields(line)
			if f[1] != "root/root" || strings.HasPrefix(f[0], "d") && f[0] != "drwxr-xr-x" {
				t.Errorf("%s: not root's alone: %s", arch, line)
			}
			if !strings.HasPrefix(f[0], "d") {
				got += f[0] + " " + strings.TrimPrefix(f[5], ".") + "\n"
			}
		}
		if diff := gocmp.Diff(byName(common+debOnly+pages), byName(got)); diff != "" {
			t.Errorf("the .deb for %s:\n%s", arch, diff)
		}
		got = output(t, "rpm", "-qp", "--qf", "[%{FILEMODES:perms} %{FILENAMES} %{FILEUSERNAME}:%{FILEGROUPNAME}\n]", rpm(built, version, arch))
		got = strings.ReplaceAll(got, " root:root\n", "\n") // another owner stays and differs
		if diff := gocmp.Diff(byName(common+rpmOnly+pages+folders), byName(got)); diff != "" {
			t.Errorf("the .rpm for %s:\n%s", arch, diff)
		}
	}
}

// The package of the policy is for all architectures, and has the module and nothing that runs.
func TestPolicyPackage(t *testing.T) {
	text := output(t, "dpkg-deb", "-c", policyDeb(built, version))
	for _, name := range []string{"/usr/share/selinux/packages/default/hugeguard.cil", "/usr/share/doc/hugeguard-selinux/copyright"} {
		if !strings.Contains(text, " ."+name+"\n") {
			t.Errorf("the .deb has no %s:\n%s", name, text)
		}
	}
	if got := output(t, "dpkg-deb", "-W", "--showformat=${Architecture}|${Depends}", policyDeb(built, version)); got != "all|policycoreutils, selinux-policy-default, selinux-utils" {
		t.Errorf("the .deb says %q", got)
	}
	got := output(t, "rpm", "-qp", "--qf", "%{ARCH}\n[%{FILEMODES:perms} %{FILENAMES}\n][%{REQUIRES}\n]", policyRPM(built, version))
	const want = `noarch
drwxr-xr-x /usr/share/licenses/hugeguard-selinux
-rw-r--r-- /usr/share/licenses/hugeguard-selinux/LICENSE
-rw-r--r-- /usr/share/selinux/packages/targeted/hugeguard.cil
selinux-policy-targeted
policycoreutils
libselinux-utils
/bin/sh
`
	if got = rpmlib.ReplaceAllString(got, ""); got != want {
		t.Errorf("the .rpm has\n%s, want\n%s", got, want)
	}
}

// rpmlib is what an .rpm requires of rpm itself.
var rpmlib = regexp.MustCompile(`(?m)^rpmlib\(.*\n`)

// cpio unpacks an .rpm where it is called: no name in it is absolute.
func TestRpmPayload(t *testing.T) {
	for _, name := range []string{rpm(built, version, "amd64"), policyRPM(built, version)} {
		// The heads of cpio's format "newc": a magic number, thirteen numbers of eight digits, the name.
		heads := regexp.MustCompile(`070701[0-9A-Fa-f]{104}([^\x00]+)\x00`).FindAllStringSubmatch(output(t, "rpm2cpio", name), -1)
		if len(heads) < 3 {
			t.Errorf("%s has %d files", name, len(heads))
		}
		for _, head := range heads {
			if !strings.HasPrefix(head[1], "./") && head[1] != "TRAILER!!!" {
				t.Errorf("%s has %s", name, head[1])
			}
		}
	}
}

// The configuration is the admin's: no package owns it, and so none asks about it. An rpm says what is documentation.
func TestOwned(t *testing.T) {
	if info := output(t, "dpkg-deb", "-I", deb(built, version, "amd64")); strings.Contains(info, "conffiles") {
		t.Errorf("the .deb has conffiles:\n%s", info)
	}
	for _, line := range strings.Split(output(t, "rpm", "-qp", "--qf", "[%{FILENAMES} %{FILEFLAGS:fflags}\n]", rpm(built, version, "amd64")), "\n") {
		name, flags, _ := strings.Cut(line, " ")
		want := ""
		switch {
		case strings.HasPrefix(name, "/usr/share/licenses/hugeguard/"):
			want = "l"
		case strings.HasPrefix(name, "/usr/share/man/"), strings.HasPrefix(name, "/usr/share/doc/") && strings.Contains(filepath.Base(name), "."):
			want = "d"
		}
		if strings.TrimSpace(flags) != want {
			t.Errorf("the .rpm marks %s as %q, want %q", name, flags, want)
		}
	}
}

// oldestLibc is the C library that the packages ask for, the first with arm64. RHEL 7 has it.
var oldestLibc = [3]int{2, 17}

// The packages depend on what the programs load, which is the C library for the command and nothing for the hook.
func TestDependencies(t *testing.T) {
	t.Parallel()
	for arch, machine := range architectures {
		root := t.TempDir()
		output(t, "dpkg-deb", "-x", deb(built, version, arch), root)
		libraries, glibc, interpreter := loads(t, filepath.Join(root, "usr/lib/hugeguard/qemu"), machine)
		if libraries != nil || glibc != [3]int{} || interpreter {
			t.Errorf("%s: the hook loads %q, and a dynamic linker: %v", arch, libraries, interpreter)
		}
		libraries, glibc, _ = loads(t, filepath.Join(root, "usr/bin/hugeguard"), machine)
		// Up to 2.33 the C library is in parts, which those since have for programs of before.
		if !slices.Equal(libraries, []string{"libpthread.so.0", "libdl.so.2", "libc.so.6"}) {
			t.Errorf("%s: the command loads %q", arch, libraries)
		}
		if slices.Compare(glibc[:], oldestLibc[:]) > 0 {
			t.Errorf("%s: the command needs version %d of the C library, want %d at most", arch, glibc, oldestLibc)
		}

		fields := output(t, "dpkg-deb", "-W", "--showformat=${Architecture}|${Version}|${Pre-Depends}|${Depends}|${Recommends}|${Suggests}", deb(built, version, arch))
		if want := fmt.Sprintf("%s|%s-1||libc6 (>= 2.17)|libvirt0|hugeguard-selinux", arch, version); fields != want {
			t.Errorf("the .deb for %s says %q, want %q", arch, fields, want)
		}
		fields = rpmlib.ReplaceAllString(output(t, "rpm", "-qp", "--requires", "--recommends", rpm(built, version, arch)), "")
		if want := "libc.so.6(GLIBC_2.17)(64bit)\n/bin/sh\ncoreutils\n(hugeguard-selinux if selinux-policy-targeted)\nlibvirt-libs\n"; fields != want {
			t.Errorf("the .rpm for %s requires and recommends\n%swant\n%s", arch, fields, want)
		}
	}
}

// loads returns the libraries that a program needs, the newest version of the C library that it asks for, and whether
// it needs a dynamic linker.
func loads(t *testing.T, name string, machine elf.Machine) (libraries []string, glibc [3]int, interpreter bool) {
	t.Helper()
	f, err := elf.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Machine != machine {
		t.Errorf("%s is for %v, want %v", name, f.Machine, machine)
	}
	interpreter = slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
	if f.Section(".dynamic") == nil {
		return nil, glibc, interpreter
	}
	if libraries, err = f.ImportedLibraries(); err != nil {
		t.Fatal(err)
	}
	symbols, err := f.ImportedSymbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range symbols {
		var v [3]int
		if n, _ := fmt.Sscanf(s.Version, "GLIBC_%d.%d.%d", &v[0], &v[1], &v[2]); n >= 2 && slices.Compare(v[:], glibc[:]) > 0 {
			glibc = v
		}
	}
	return libraries, glibc, interpreter
}

// The programs of the package work where it is unpacked.
func TestUnpacked(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	output(t, "dpkg-deb", "-x", deb(built, version, "amd64"), root)
	command := filepath.Join(root, "usr/bin/hugeguard")
	if got := output(t, command, "--version"); got != "hugeguard version "+version+"\n" {
		t.Errorf("hugeguard --version says %q", got)
	}
	const incident = repository + "/testdata/hosts/incident/"
	refusal, err := exec.Command(command, "check", "--root", incident+"host", incident+"prepare.xml").Output()
	const want = "OVS-DPDK holds node 0's 2M pages: 0 of 1024 free, 512 needed (1 GiB); ovs-vswitchd (pid 567) has 512, nova.conf reserves none;"
	if e, ok := err.(*exec.ExitError); !ok || e.ExitCode() != 3 || !strings.HasPrefix(string(refusal), want) {
		t.Errorf("check says of the incident (%v)\n%s", err, refusal)
	}
	status, err := exec.Command(command, "status", "--root", incident+"host").Output()
	if err != nil || !strings.Contains(string(status), "node 0, 2 MiB: ") {
		t.Errorf("status says of the incident (%v)\n%s", err, status)
	}

	// The hook that is unpacked beside the command is the one that it installs.
	host := t.TempDir()
	said := output(t, command, "install", "--root", host)
	if text, err := os.ReadFile(filepath.Join(host, "etc/libvirt/hooks/qemu")); err != nil {
		t.Errorf("%v: install said %s", err, said)
	} else if own, _ := os.ReadFile(filepath.Join(root, "usr/lib/hugeguard/qemu")); !bytes.Equal(text, own) {
		t.Error("install placed another hook than the package's")
	}
	// A guest without huge pages passes, whatever this machine is.
	hook := exec.Command(filepath.Join(host, "etc/libvirt/hooks/qemu"), "guest", "prepare", "begin", "-")
	hook.Stdin = strings.NewReader("<domain type='kvm'><name>guest</name><memory unit='KiB'>1024</memory></domain>")
	if text, err := hook.CombinedOutput(); err != nil || len(text) > 0 {
		t.Errorf("the hook says %q: %v", text, err)
	}
}

// The manual pages and completions are well formed, and name what there is.
func TestManual(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	output(t, "dpkg-deb", "-x", deb(built, version, "amd64"), root)
	share := filepath.Join(root, "usr/share")
	for _, name := range []string{"man8/hugeguard.8.gz", "man5/hugeguard.conf.5.gz"} {
		page := filepath.Join(share, "man", name)
		if said := output(t, "sh", "-c", `gzip -dc "$1" | mandoc -T lint -W warning 2>&1`, "sh", page); said != "" {
			t.Errorf("mandoc: %s", said)
		}
		cmd := exec.Command("man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", page)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MANROFFOPT=", "MANWIDTH=80")
		var warnings bytes.Buffer
		cmd.Stderr = &warnings
		text, err := cmd.Output()
		if err != nil || warnings.Len() > 0 {
			t.Errorf("man %s: %v: %s", name, err, &warnings)
		}
		if !bytes.Contains(text, []byte("hugeguard "+version)) || !bytes.Contains(text, []byte("2023-11-14")) {
			t.Errorf("%s does not say of which version and day it is:\n%s", name, text)
		}
	}
	page := output(t, "sh", "-c", `gzip -dc "$1" | mandoc -T ascii | col -b`, "sh", filepath.Join(share, "man/man8/hugeguard.8.gz"))
	if !strings.Contains(page, "\nEXIT STATUS\n       0      ") {
		t.Errorf("hugeguard.8 has no table of exit statuses:\n%s", page)
	}
	help := output(t, filepath.Join(root, "usr/bin/hugeguard"), "--help")
	_, list, _ := strings.Cut(help, "Available Commands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	for _, line := range strings.Split(list, "\n") {
		name := strings.Fields(line)[0]
		if name != "help" && name != "completion" && !strings.Contains(page, "\n   "+name+"\n") {
			t.Errorf("hugeguard.8 has nothing of %s", name)
		}
	}

	// bash completes the first letters of a command.
	said := output(t, "bash", "-c", `PATH=$2:$PATH
_get_comp_words_by_ref() { words=(hugeguard unin); cword=1; cur=unin; prev=hugeguard; }
_init_completion() { _get_comp_words_by_ref; }
. "$1"
$(complete -p hugeguard | sed 's/.*-F \([^ ]*\).*/\1/') && echo "${COMPREPLY[*]}"`, "bash",
		filepath.Join(share, "bash-completion/completions/hugeguard"), filepath.Join(root, "usr/bin"))
	if strings.TrimSpace(said) != "uninstall" {
		t.Errorf("bash completes unin with %q", said)
	}
}

// lintian, Debian's own judge of packages, has nothing to say.
func TestLintian(t *testing.T) {
	t.Parallel()
	for _, name := range []string{deb(built, version, "amd64"), deb(built, version, "arm64"), policyDeb(built, version)} {
		cmd := exec.Command("lintian", "--fail-on", "error,warning", name)
		cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir()) // it leaves some of its files
		text, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("lintian on %s: %v\n%s", name, err, text)
		}
	}
}

// What the documentation and the manual pages name below the package's own folders is there, and the pages lead to one
// another as they are unpacked.
func TestDocumented(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	output(t, "dpkg-deb", "-x", deb(built, version, "amd64"), root)
	doc := filepath.Join(root, "usr/share/doc/hugeguard")
	place := regexp.MustCompile(`/usr/(?:share|lib)/(?:doc/)?(?:hugeguard|systemd/[a-z]+)(?:/[\w.-]*\w)*`)
	link := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	there := func(page, name string) {
		t.Helper()
		if _, err := os.Stat(name); err != nil {
			t.Errorf("%s: %v", page, err)
		}
	}
	places, links := 0, 0
	look := func(page string, text []byte) {
		t.Helper()
		for _, name := range place.FindAll(text, -1) {
			places++
			there(page, filepath.Join(root, string(name)))
		}
	}
	err := filepath.WalkDir(doc, func(name string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".md") {
			return err
		}
		text, err := os.ReadFile(name)
		look(name, text)
		for _, found := range link.FindAllSubmatch(text, -1) {
			links++
			there(name, filepath.Join(filepath.Dir(name), string(found[1])))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join(repository, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	look("README.md", readme)
	look("hugeguard.8", []byte(strings.ReplaceAll(output(t, "gzip", "-dc", filepath.Join(root, "usr/share/man/man8/hugeguard.8.gz")), `\-`, "-")))
	if places < 8 || links < 20 {
		t.Errorf("only %d places and %d links are seen", places, links)
	}
}
