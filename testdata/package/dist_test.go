package package_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// release makes the release of the commit at hand, once, as "make dist" does.
var release = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(filepath.Dir(built), "dist")
	return dir, distribute(repository, dir, "022")
})

// distribute makes the release of a checkout.
func distribute(source, out, umask string, env ...string) error {
	cmd := exec.Command("sh", "-c", "umask "+umask+` && exec install/package/dist.sh "$1"`, "sh", out)
	cmd.Dir, cmd.Env = source, append(append(os.Environ(), "VERSION="+version, "SOURCE_DATE_EPOCH=1700000000"), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("dist.sh: %w\n%s", err, text)
	}
	return nil
}

// unpacked returns the name of the release's tarball, and its source, unpacked in a directory of the test.
func unpacked(t *testing.T) (tarball, source string) {
	t.Helper()
	dir, err := release()
	if err != nil {
		t.Fatal(err)
	}
	tarball, to := filepath.Join(dir, "hugeguard-"+version+".tar.gz"), t.TempDir()
	output(t, "tar", "-xzf", tarball, "-C", to)
	return tarball, filepath.Join(to, "hugeguard-"+version)
}

// One commit makes the same release, wherever that is.
func TestDistSameBytes(t *testing.T) {
	t.Parallel()
	dir, err := release()
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "another name")
	output(t, "git", "clone", "--quiet", "--local", repository, elsewhere)
	other := filepath.Join(t.TempDir(), "out")
	if err := distribute(elsewhere, other, "077", "TZ=Pacific/Kiritimati", "LC_ALL=C.UTF-8", "GOFLAGS=-mod=mod"); err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 3 {
		t.Fatalf("three files are wanted, there are %v (%v)", names, err)
	}
	for _, name := range names {
		one, err := os.ReadFile(filepath.Join(dir, name.Name()))
		if err != nil {
			t.Fatal(err)
		}
		two, err := os.ReadFile(filepath.Join(other, name.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if string(one) != string(two) {
			t.Errorf("two releases of one commit differ in %s", name.Name())
		}
	}
	output(t, "sh", "-c", `cd "$1" && sha256sum --check --strict --quiet *.sha256`, "sh", dir)
}

// The list of what is in the programs has the modules that they link, with their licences, and no module of the tests.
func TestDistList(t *testing.T) {
	t.Parallel()
	dir, err := release()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "hugeguard-"+version+".cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		BOMFormat  string `json:"bomFormat"`
		Components []struct {
			Name, Version, PURL string
			Evidence            struct{ Licenses []any }
		}
	}
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range list.Components {
		if c.Name == "std" {
			continue
		}
		got = append(got, c.Name+" "+c.Version)
		if len(c.Evidence.Licenses) == 0 || !strings.HasPrefix(c.PURL, "pkg:golang/"+c.Name+"@"+c.Version) {
			t.Errorf("%s has the licences %v and the address %s", c.Name, c.Evidence.Licenses, c.PURL)
		}
	}
	cmd := exec.Command("go", "list", "-deps", "-tags", "libvirt_dlopen", "-f",
		"{{with .Module}}{{with .Version}}{{$.Module.Path}} {{.}}{{end}}{{end}}", "./hook/qemu", "./install/hugeguard")
	cmd.Dir, cmd.Env = repository, append(os.Environ(), "CGO_ENABLED=1")
	linked, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := slices.DeleteFunc(strings.Split(strings.TrimSpace(string(linked)), "\n"), func(line string) bool { return line == "" })
	slices.Sort(want)
	slices.Sort(got)
	if diff := gocmp.Diff(slices.Compact(want), got); diff != "" || list.BOMFormat != "CycloneDX" {
		t.Errorf("it is %q and has:\n%s", list.BOMFormat, diff)
	}
}

// Everything in the tarball that others wrote is in Debian's statement of copyrights.
func TestDistCopyright(t *testing.T) {
	t.Parallel()
	_, source := unpacked(t)
	stated, err := os.ReadFile(filepath.Join(source, "debian/copyright"))
	if err != nil {
		t.Fatal(err)
	}
	modules, err := os.ReadFile(filepath.Join(source, "vendor/modules.txt"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^# (\S+?)(/v\d+)? v`).FindAllStringSubmatch(string(modules), -1)
	if len(found) < 10 {
		t.Errorf("only %d modules are in vendor", len(found))
	}
	for _, module := range found {
		if !strings.Contains(string(stated), " vendor/"+module[1]+"/*\n") {
			t.Errorf("debian/copyright has nothing of vendor/%s", module[1])
		}
	}
}

// builder returns a command in the source of the release that reaches no network and has no modules but those in vendor.
// The product's tests have a tier of their own.
func builder(t *testing.T, source, name string, args ...string) *exec.Cmd {
	t.Helper()
	cache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", append([]string{"--net", name}, args...)...)
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "GOCACHE="+strings.TrimSpace(string(cache)), "GOMODCACHE="+t.TempDir(),
		"SOURCE_DATE_EPOCH=1700000000", "DEB_BUILD_OPTIONS=nocheck")
	return cmd
}

// debhelper builds the packages that nfpm builds: the same files, scripts and dependencies. lintian has nothing to say
// of them, or of their source.
func TestDistDebian(t *testing.T) {
	t.Parallel()
	tarball, source := unpacked(t)
	out := filepath.Dir(source)
	if err := os.Link(tarball, filepath.Join(out, "hugeguard_"+version+".orig.tar.gz")); err != nil {
		t.Fatal(err)
	}
	// This machine's Go is no package of Debian's.
	said, err := builder(t, source, "dpkg-checkbuilddeps").CombinedOutput()
	if err != nil && !regexp.MustCompile(`^dpkg-checkbuilddeps: error: [Uu]nmet build dependencies: golang-any \(>= [^)]*\)\n$`).Match(said) {
		t.Fatalf("dpkg-checkbuilddeps: %s", said)
	}
	if said, err := builder(t, source, "dpkg-buildpackage", "--no-check-builddeps", "--no-sign").CombinedOutput(); err != nil {
		t.Fatalf("dpkg-buildpackage: %v\n%s", err, said)
	}
	for name, fast := range map[string]string{
		"hugeguard_" + version + "-1_amd64.deb":       deb(built, version, "amd64"),
		"hugeguard-selinux_" + version + "-1_all.deb": policyDeb(built, version),
	} {
		if diff := gocmp.Diff(debianPackage(t, fast), debianPackage(t, filepath.Join(out, name))); diff != "" {
			t.Errorf("%s differs from the one that nfpm builds:\n%s", name, diff)
		}
	}
	lint := exec.Command("lintian", "--fail-on", "error,warning", filepath.Join(out, "hugeguard_"+version+"-1_amd64.changes"))
	lint.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	if text, err := lint.CombinedOutput(); err != nil {
		t.Errorf("lintian: %v\n%s", err, text)
	}
}

// debianPackage returns what a .deb says of itself, with its files and scripts.
func debianPackage(t *testing.T, name string) map[string]string {
	t.Helper()
	is := map[string]string{}
	for _, field := range []string{"Package", "Version", "Architecture", "Section", "Priority", "Depends", "Recommends", "Suggests", "Description"} {
		is[field] = output(t, "dpkg-deb", "-f", name, field)
	}
	// A distribution builds for its own C library.
	is["Depends"] = regexp.MustCompile(`libc6 \(>= [^)]*\)`).ReplaceAllString(is["Depends"], "libc6")
	dir := t.TempDir()
	output(t, "dpkg-deb", "-e", name, dir)
	for _, script := range []string{"conffiles", "preinst", "postinst", "prerm", "postrm"} {
		text, err := os.ReadFile(filepath.Join(dir, script))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		is[script] = strings.ReplaceAll(string(text), "\n\n", "\n") // debhelper leaves a line that is empty
	}
	var files []string
	for _, line := range strings.Split(strings.TrimSpace(output(t, "dpkg-deb", "-c", name)), "\n") {
		if f := strings.Fields(line); !strings.HasPrefix(f[0], "d") {
			files = append(files, f[0]+" "+f[1]+" "+strings.TrimPrefix(f[5], "."))
		}
	}
	slices.Sort(files)
	is["files"] = strings.Join(files, "\n")
	return is
}

// rpmbuild builds the packages that nfpm builds, too. rpmlint has nothing to say of them, or of the specification.
func TestDistRPM(t *testing.T) {
	t.Parallel()
	tarball, source := unpacked(t)
	top := t.TempDir()
	// rpm knows nothing of what dpkg installed.
	said, err := builder(t, source, "rpmbuild", "-ta", "--nodeps", "--nocheck", "--define", "_topdir "+top, "--define", "dist %{nil}", tarball).CombinedOutput()
	if err != nil {
		t.Fatalf("rpmbuild: %v\n%s", err, said)
	}
	if strings.Contains(string(said), "warning: ") {
		t.Errorf("rpmbuild warns:\n%s", said)
	}
	for name, fast := range map[string]string{
		"x86_64/hugeguard-" + version + "-1.x86_64.rpm":         rpm(built, version, "amd64"),
		"noarch/hugeguard-selinux-" + version + "-1.noarch.rpm": policyRPM(built, version),
	} {
		if diff := gocmp.Diff(rpmPackage(t, fast), rpmPackage(t, filepath.Join(top, "RPMS", name))); diff != "" {
			t.Errorf("%s differs from the one that nfpm builds:\n%s", name, diff)
		}
	}
	ownsWhatItMakes(t, filepath.Join(top, "RPMS/x86_64/hugeguard-"+version+"-1.x86_64.rpm"))
	lint := exec.Command("rpmlint", "--strict", "--config", "rpmlint.toml", filepath.Join(top, "RPMS"), filepath.Join(source, "hugeguard.spec"))
	if text, err := lint.CombinedOutput(); err != nil {
		t.Errorf("rpmlint: %v\n%s", err, text)
	}
}

// ownsWhatItMakes checks that rpm knows whose the directories are that a package makes, and erases them with it.
func ownsWhatItMakes(t *testing.T, name string) {
	t.Helper()
	s := newSystem(t, container)
	pkg := s.bring(name)
	was := s.files()
	s.sh("rpm --force-debian --nodeps -i " + pkg + " && mkdir -m 0700 /run/hugeguard")
	if said := s.sh("rpm -qf /var/lib/hugeguard /run/hugeguard; rpm --force-debian -V --nodeps hugeguard"); said != strings.Repeat("hugeguard-"+version+"-1.x86_64\n", 2) {
		t.Errorf("rpm -qf and rpm -V say\n%s", said)
	}
	s.sh("rpm --force-debian --nodeps -e hugeguard")
	s.unchanged(was)
}

// rpmPackage returns what an .rpm says of itself, with its files and scripts.
func rpmPackage(t *testing.T, name string) map[string]string {
	t.Helper()
	is := map[string]string{}
	for what, query := range map[string]string{
		"name":        "%{NAME} %{VERSION}-%{RELEASE} %{ARCH}",
		"summary":     "%{SUMMARY}",
		"description": "%{DESCRIPTION}",
		"files":       "[%{FILEMODES:perms} %{FILEUSERNAME}:%{FILEGROUPNAME} %{FILENAMES} %{FILEFLAGS:fflags}\n]",
		"pre":         "%{PREIN}",
		"post":        "%{POSTIN}",
		"preun":       "%{PREUN}",
		"postun":      "%{POSTUN}",
		"recommends":  "[%{RECOMMENDS}\n]",
	} {
		is[what] = strings.TrimSpace(output(t, "rpm", "-qp", "--qf", query, name))
	}
	is["description"] = strings.TrimPrefix(is["description"], is["summary"]+"\n") // nfpm begins with it
	is["files"] = strings.ReplaceAll(is["files"], ".gz d", " d")                  // Debian's rpmbuild compresses no pages: its sh is another
	// nfpm cannot say of a directory that it is made at run time.
	is["files"] = strings.TrimSpace(regexp.MustCompile(`(?m)^.* g$\n?`).ReplaceAllString(is["files"], ""))
	// rpmbuild adds what its own format takes, and every version of the C library's symbols: TestDependencies has the latest.
	var requires []string
	for _, line := range strings.Split(output(t, "rpm", "-qp", "--requires", name), "\n") {
		if !strings.HasPrefix(line, "rpmlib(") && !strings.HasPrefix(line, "libc.so.6(") && !strings.HasPrefix(line, "rtld(") && line != "" && !slices.Contains(requires, line) {
			requires = append(requires, line)
		}
	}
	slices.Sort(requires)
	is["requires"] = strings.Join(requires, "\n")
	return is
}

// "make install" puts below DESTDIR what the package of this system owns.
func TestMakeInstall(t *testing.T) {
	t.Parallel()
	for system, name := range map[string]string{"debian": deb(built, version, "amd64"), "rpm": rpm(built, version, "amd64")} {
		root := t.TempDir()
		if text, err := exec.Command("make", "-C", repository, "install", "BIN="+t.TempDir(), "DESTDIR="+root, "FOR="+system).CombinedOutput(); err != nil {
			t.Fatalf("make install: %v\n%s", err, text)
		}
		got := map[string]bool{}
		err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				got[strings.TrimPrefix(name, root)] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]bool{}
		list := "dpkg-deb -c \"$1\" | sed -n '/^d/!s/.* [.]//p'"
		if system == "rpm" {
			list = `rpm -qp --qf '[%{FILEMODES:perms} %{FILENAMES}\n]' "$1" | sed -n '/^d/!s/.* //p'`
		}
		for _, file := range strings.Fields(output(t, "sh", "-c", list, "sh", name)) {
			// Debian's own changelog, and what lintian is to overlook, are in the package alone.
			if filepath.Base(file) != "changelog.Debian.gz" && !strings.HasPrefix(file, "/usr/share/lintian/") {
				want[strings.TrimSuffix(file, ".gz")] = true
			}
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%s: make install and the package differ:\n%s", system, diff)
		}
	}
}
