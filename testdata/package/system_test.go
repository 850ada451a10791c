package package_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A system is a copy of this machine's files, without libvirt's and without daemons, in which packages are installed.
type system struct {
	t       *testing.T
	root    string
	changed string // what differs from this machine's files, as overlayfs keeps it
	kind    kind
}

// A kind says what a system is to its processes.
type kind int

const (
	container kind = iota // they are the system's own, the first among them: as on a host
	chroot                // they are those of the host around it
	bare                  // they are not seen: an image that is being built
)

func newSystem(t *testing.T, kind kind) *system {
	t.Helper()
	dir := t.TempDir()
	mount := func(source, target, kind string, flags uintptr, data string) {
		t.Helper()
		if err := syscall.Mount(source, target, kind, flags, data); err != nil {
			t.Fatalf("mount %s: %v", target, err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(target, syscall.MNT_DETACH); err != nil {
				t.Errorf("unmount %s: %v", target, err)
			}
		})
	}
	mount("system", dir, "tmpfs", 0, "mode=0755")
	s := &system{t, filepath.Join(dir, "root"), filepath.Join(dir, "upper"), kind}
	for _, name := range []string{"upper", "work", "root"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mount("system", s.root, "overlay", 0, "lowerdir=/,upperdir="+dir+"/upper,workdir="+dir+"/work")
	mount("run", s.path("/run"), "tmpfs", 0, "mode=0755")
	mount("dev", s.path("/dev"), "tmpfs", 0, "mode=0755")
	for name, minor := range map[string]int{"null": 3, "zero": 5, "full": 7, "urandom": 9} {
		if err := syscall.Mknod(s.path("/dev/"+name), syscall.S_IFCHR|0o666, 1<<8|minor); err != nil {
			t.Fatal(err)
		}
	}
	if kind == chroot {
		mount("/proc", s.path("/proc"), "", syscall.MS_BIND|syscall.MS_REC, "")
	}
	// What this machine has of libvirt, of hugeguard, of packages that rpm knows and of other shells is not part of it.
	// dpkg has to forget the package too, without what its scripts would do to libvirt's hooks: of a package that it knows
	// it keeps the configuration deleted, and upgrades it.
	s.sh(`if dpkg -s hugeguard >/dev/null 2>&1; then
	rm -f /var/lib/dpkg/info/hugeguard.*inst /var/lib/dpkg/info/hugeguard.*rm
	dpkg --force-all -P hugeguard
fi
rm -rf /usr/local/* /etc/libvirt /etc/hugeguard.conf /usr/bin/hugeguard /usr/lib/hugeguard /var/lib/hugeguard \
	/usr/share/hugeguard /usr/share/doc/hugeguard /usr/share/licenses/hugeguard /usr/share/lintian/overrides/hugeguard \
	/usr/share/man/man?/hugeguard* /usr/lib/systemd/catalog/hugeguard.catalog \
	/usr/lib/systemd/system/hugeguard* /etc/systemd/system/hugeguard* /etc/systemd/system/*/hugeguard* \
	/var/lib/systemd/deb-systemd-helper-*/hugeguard* /var/lib/systemd/deb-systemd-helper-*/*/hugeguard* \
	/var/lib/systemd/timers/stamp-hugeguard* /var/lib/prometheus/node-exporter/hugeguard* \
	/root/.rpmdb /var/lib/rpm/* /usr/share/fish /usr/share/zsh /usr/share/bash-completion $(find /usr/lib -name 'libvirt.so.0*')
mkdir -p /usr/share/licenses # every system with rpm has it
mkdir -p /var/lib/prometheus/node-exporter /usr/local/bin
printf '#!/bin/sh\nexit 9\n' >/usr/local/bin/hugeguard # an earlier install's, which is not the package's
chmod +x /usr/local/bin/hugeguard
rm -f /var/lib/man-db/auto-update # an index of all pages at each step would only take time`)
	return s
}

func (s *system) path(name string) string { return filepath.Join(s.root, name) }

// try runs a script of the system's shell and returns what it says.
func (s *system) try(script string) (string, error) {
	attr := &syscall.SysProcAttr{Chroot: s.root}
	if s.kind == container {
		attr.Cloneflags = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS
		script = "mount -t proc proc /proc\n" + script
	}
	cmd := exec.Command("/bin/sh", "-euc", script)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "HOME=/root"}
	cmd.SysProcAttr = attr
	text, err := cmd.CombinedOutput()
	return string(text), err
}

// sh runs a script that has to succeed.
func (s *system) sh(script string) string {
	s.t.Helper()
	text, err := s.try(script)
	if err != nil {
		s.t.Fatalf("%v:\n%s\n%s", err, script, text)
	}
	return text
}

// bring puts a package into the system and returns its name there.
func (s *system) bring(name string) string {
	s.t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		s.t.Fatal(err)
	}
	to := "/run/" + filepath.Base(name)
	s.write(to, string(text), 0o644)
	return to
}

func (s *system) write(name, text string, mode fs.FileMode) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Dir(s.path(name)), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(s.path(name), []byte(text), mode); err != nil {
		s.t.Fatal(err)
	}
}

// holds checks the content of a file; "" is one that is not there.
func (s *system) holds(name, want string) {
	s.t.Helper()
	text, err := os.ReadFile(s.path(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Error(err)
	}
	if string(text) != want {
		s.t.Errorf("%s has\n%.400s\nwant\n%.400s", name, text, want)
	}
}

// hooked checks that the package's hook lies at a place.
func (s *system) hooked(place string) {
	s.t.Helper()
	own, err := os.ReadFile(s.path("/usr/lib/hugeguard/qemu"))
	if err != nil {
		s.t.Error(err)
	}
	there, err := os.ReadFile(s.path(place))
	if err != nil || !bytes.Equal(own, there) {
		s.t.Errorf("%s is not the package's hook: %v", place, err)
	}
}

// explained checks whether the journal's catalog has hugeguard's entries.
func (s *system) explained(want bool) {
	s.t.Helper()
	if got := strings.Contains(s.sh("journalctl --list-catalog"), "Open vSwitch holds the huge pages"); got != want {
		s.t.Errorf("the catalog has the entries: %v", got)
	}
}

// files lists what there is and this machine does not have, and as a device what this machine alone has (overlayfs's
// whiteout), but for the books that dpkg, apt, rpm and others keep. What this machine's own processes write meanwhile is
// not in it.
func (s *system) files() string {
	s.t.Helper()
	var list strings.Builder
	for _, dir := range []string{"/etc", "/usr", "/var"} {
		s.list(&list, filepath.Join(s.changed, dir), func(name string, kind fs.FileMode) bool {
			info, err := os.Lstat(name)
			return err != nil || info.Mode().Type() != kind
		})
	}
	s.list(&list, s.path("/run"), func(string, fs.FileMode) bool { return true })
	return list.String()
}

// list appends the files below a directory whose name and type count.
func (s *system) list(to *strings.Builder, dir string, counts func(name string, kind fs.FileMode) bool) {
	s.t.Helper()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name = strings.TrimPrefix(strings.TrimPrefix(name, s.changed), s.root)
		switch name {
		case "/var/lib/dpkg", "/var/lib/apt", "/var/lib/rpm", "/var/log", "/var/cache", "/var/lib/systemd/catalog", "/usr/local":
			return fs.SkipDir
		}
		if counts(name, d.Type()) {
			to.WriteString(name + " " + d.Type().String() + "\n")
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// unchanged checks that there is what there was.
func (s *system) unchanged(was string) {
	s.t.Helper()
	if is := s.files(); is != was {
		s.t.Errorf("what was there (-) and is (+):\n%s", cmp.Diff(strings.Split(was, "\n"), strings.Split(is, "\n")))
	}
}

const (
	mainHook  = "/etc/libvirt/hooks/qemu"
	dropIn    = "/etc/libvirt/hooks/qemu.d/zz-hugeguard"
	conf      = "/etc/hugeguard.conf"
	oldDropIn = "/etc/libvirt/hooks/qemu.d/50-hugeguard"
	siteHook  = "#!/bin/sh\necho the site\n"
	edited    = "mode = warn # until Monday\n"
	libvirt9  = "/usr/lib/x86_64-linux-gnu/libvirt.so.0.9000.0"
	metrics   = "/var/lib/prometheus/node-exporter/hugeguard.prom"
	counts    = "/var/lib/hugeguard/metrics.json"
	wanted    = "/etc/systemd/system/timers.target.wants/hugeguard-metrics.timer"
)

// Without libvirt, without daemons and in an image that is being built, the hook waits for a libvirt to come.
func TestDpkgAlone(t *testing.T) {
	for name, kind := range map[string]kind{"container": container, "chroot": chroot, "bare": bare} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, kind)
			pkg := s.bring(deb(built, version, "amd64"))
			if kind == chroot { // this /run is the host's
				s.write("/run/hugeguard/claims", "{}", 0o600)
				s.write("/run/hugeguard-install.lock", "", 0o600)
			}
			was := s.files()
			said := s.sh("dpkg -i " + pkg)
			if told := strings.Contains(said, "no libvirt daemon runs: "); told != (kind == container) {
				t.Errorf("daemons were looked for: %v\n%s", told, said)
			}
			s.hooked(mainHook)
			s.explained(true)
			s.sh("dpkg -r hugeguard")
			s.explained(false)
			s.holds(mainHook, "")
			if _, err := os.Stat(s.path("/etc/libvirt")); err == nil {
				t.Error("/etc/libvirt is left, which was not there before")
			}
			s.holds(conf, "")
			s.sh("dpkg -i " + pkg) // what was removed can come back
			s.hooked(mainHook)
			s.sh("dpkg -P hugeguard")
			s.unchanged(was)
		})
	}
}

// An upgrade keeps the site's hook and the admin's configuration; removal leaves the first, a purge takes the second.
func TestDpkgUpgrade(t *testing.T) {
	t.Parallel()
	s := newSystem(t, container)
	s.write(mainHook, siteHook, 0o755)
	s.write(libvirt9, "", 0o644)
	s.write(conf, edited, 0o644) // from before there was a package
	old, new := s.bring(deb(before, older, "amd64")), s.bring(deb(built, version, "amd64"))
	was := strings.ReplaceAll(s.files(), conf+" ----------\n", "") // which a purge takes along

	const install = "DEBIAN_FRONTEND=noninteractive apt-get install -y " // as the documentation says
	s.sh(install + old + " </dev/null")
	s.hooked(dropIn)
	s.holds(mainHook, siteHook)
	s.holds(conf, edited)
	first, err := os.ReadFile(s.path(dropIn))
	if err != nil {
		t.Fatal(err)
	}

	s.sh("mv " + dropIn + " " + oldDropIn) // as versions have it that do not judge last
	s.sh(install + new + " </dev/null")
	s.hooked(dropIn)
	s.holds(oldDropIn, "")
	if now, _ := os.ReadFile(s.path(dropIn)); bytes.Equal(first, now) {
		t.Error("the hook of the older package is in place after the upgrade")
	}
	s.holds(mainHook, siteHook)
	s.holds(conf, edited)
	if got := s.sh("/usr/bin/hugeguard --version"); got != "hugeguard version "+version+"\n" {
		t.Errorf("after the upgrade it is %s", got)
	}
	s.sh("dpkg --force-downgrade -i " + old) // and back
	s.holds(dropIn, string(first))

	s.sh("dpkg -r hugeguard")
	s.holds(mainHook, siteHook)
	s.holds(dropIn, "")
	s.holds(conf, edited)
	s.sh("dpkg -P hugeguard")
	s.holds(mainHook, siteHook)
	s.unchanged(was)
}

// Where the hook cannot be put in place the package is installed all the same, and says what to do.
func TestDpkgHookInTheWay(t *testing.T) {
	t.Parallel()
	s := newSystem(t, container)
	s.write(mainHook+"/file", "", 0o644) // a directory
	pkg := s.bring(deb(built, version, "amd64"))
	was := s.files()
	said := s.sh("dpkg -i " + pkg + " 2>&1; dpkg-query -W -f '${Status}\n' hugeguard")
	if !strings.Contains(said, "/etc/libvirt/hooks/qemu is neither a file nor a symbolic link: remove it first\n") ||
		!strings.Contains(said, "run: hugeguard install\n") || !strings.HasSuffix(said, "install ok installed\n") {
		t.Errorf("dpkg said\n%s", said)
	}
	s.sh("dpkg -P hugeguard")
	s.unchanged(was)
}

// dpkg calls the scripts in other ways where something goes wrong: the hook stays, or comes back.
func TestDpkgUnwinding(t *testing.T) {
	t.Parallel()
	s := newSystem(t, container)
	s.sh("dpkg -i " + s.bring(deb(built, version, "amd64")))
	script := func(call string) { s.t.Helper(); s.sh("/var/lib/dpkg/info/hugeguard." + call) }
	for _, call := range []string{"prerm upgrade 9", "prerm failed-upgrade 0.1 9", "prerm deconfigure in-favour other 1", "postrm upgrade 9",
		"postrm failed-upgrade 0.1 9", "postrm abort-install", "postrm abort-upgrade 9", "postrm disappear other 1"} {
		script(call)
		s.hooked(mainHook)
		s.sh("test -e /var/lib/hugeguard/install.json")
	}
	for _, call := range []string{"postinst abort-upgrade 9", "postinst abort-deconfigure in-favour other 1", "postinst abort-remove"} {
		script("prerm remove")
		s.holds(mainHook, "")
		script(call)
		s.hooked(mainHook)
	}
	// A hook that cannot be taken away keeps the package, which alone can do it.
	s.sh("ln -sf /usr/lib/hugeguard/qemu " + mainHook)
	if said, err := s.try("dpkg -r hugeguard"); err == nil || !strings.Contains(said, "symbolic link to hugeguard's hook program") {
		t.Errorf("removal: %v\n%s", err, said)
	}
	s.sh("rm " + mainHook + "; dpkg -r hugeguard")
}

// The timer of the metrics is enabled as Debian does it, which an admin may change, and forgotten by a purge. Metrics go
// with the package, for nobody writes them any more.
func TestDpkgMetrics(t *testing.T) {
	t.Parallel()
	s := newSystem(t, container)
	pkg := s.bring(deb(built, version, "amd64"))
	was := s.files()
	s.sh("dpkg -i " + pkg + " && test -L " + wanted)
	s.sh("rm " + wanted + "; dpkg -i " + pkg + "; ! test -L " + wanted)
	s.write(metrics, "hugeguard_build_info 1\n", 0o644)
	s.write(counts, "{}", 0o644)
	s.sh("dpkg -r hugeguard; ! test -e " + metrics)
	s.sh("dpkg -P hugeguard")
	s.unchanged(was)
}

// shellDirs are where the completions lie.
const shellDirs = "/usr/share/bash-completion/completions /usr/share/fish/vendor_completions.d /usr/share/zsh/site-functions"

// ownShellDirs installs a package that has them, as Fedora's filesystem does.
const ownShellDirs = `cat >/run/shells.spec <<'.'
Name: shells
Version: 1
Release: 1
Summary: directories
License: none
BuildArch: noarch
%description
Directories.
%install
mkdir -p %{buildroot}/usr/share/bash-completion/completions %{buildroot}/usr/share/fish/vendor_completions.d %{buildroot}/usr/share/zsh/site-functions
%files
%dir /usr/share/bash-completion
%dir /usr/share/bash-completion/completions
%dir /usr/share/fish
%dir /usr/share/fish/vendor_completions.d
%dir /usr/share/zsh
%dir /usr/share/zsh/site-functions
.
rpmbuild -bb --quiet --define '_topdir /run/rpmbuild' /run/shells.spec
rpm --force-debian --nodeps -i /run/rpmbuild/RPMS/noarch/shells-1-1.noarch.rpm
`

// rpm puts the hook in place at an install, replaces it at an upgrade and takes it away at an erasure.
func TestRpm(t *testing.T) {
	const rpmd = "rpm --force-debian --nodeps "
	for name, c := range map[string]struct {
		site  bool   // it has a hook of its own
		shell string // makes directories of shells
	}{
		"with a site's hook": {site: true},
		"without":            {},
		"with directories of shells that nobody owns":   {shell: "mkdir -p " + shellDirs},
		"with directories of shells that a package has": {shell: ownShellDirs},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, container)
			site := c.site
			s.sh(c.shell)
			place := mainHook
			if site {
				s.write(mainHook, siteHook, 0o755)
				s.write(libvirt9, "", 0o644)
				place = dropIn
			}
			s.write("/usr/lib/systemd/system-preset/10-site.preset", "enable hugeguard-metrics.timer\n", 0o644)
			old, new := s.bring(rpm(before, older, "amd64")), s.bring(rpm(built, version, "amd64"))
			was := s.files()

			s.sh(rpmd + "-i " + old)
			s.hooked(place)
			s.explained(true)
			s.sh("test -L " + wanted + "; rm " + wanted)
			if said := s.sh("rpm --force-debian -V --nodeps hugeguard"); said != "" {
				t.Errorf("rpm -V: %s", said)
			}
			first, _ := os.ReadFile(s.path(place))
			s.write(conf, edited, 0o644)

			if site {
				s.sh("mv " + dropIn + " " + oldDropIn) // as versions have it that do not judge last
			}
			s.sh(rpmd + "-U " + new)
			s.hooked(place)
			s.holds(oldDropIn, "")
			if now, _ := os.ReadFile(s.path(place)); bytes.Equal(first, now) {
				t.Error("the hook of the older package is in place after the upgrade")
			}
			s.holds(conf, edited)
			s.explained(true)
			s.sh("! test -L " + wanted) // what the admin decided counts
			if site {
				s.holds(mainHook, siteHook)
			}

			s.sh("systemctl enable hugeguard-metrics.timer")
			s.write(metrics, "hugeguard_build_info 1\n", 0o644)
			s.write(counts, "{}", 0o644)
			s.sh(rpmd + "-e hugeguard")
			s.explained(false)
			s.holds(place, "")
			if site {
				s.holds(mainHook, siteHook)
			}
			s.holds(conf, edited)
			s.sh("rm " + conf)
			s.unchanged(was)
		})
	}
}

// In an image that is being built, or where the hook cannot be put in place, rpm installs it all the same.
func TestRpmImage(t *testing.T) {
	t.Parallel()
	s := newSystem(t, bare)
	pkg := s.bring(rpm(built, version, "amd64"))
	was := s.files()
	s.sh("rpm --force-debian --nodeps -i " + pkg)
	s.hooked(mainHook)
	s.sh("rpm --force-debian --nodeps -e hugeguard")
	s.unchanged(was)
	s.write(mainHook+"/file", "", 0o644)
	said := s.sh("rpm --force-debian --nodeps -i " + pkg + " 2>&1")
	if !strings.Contains(said, "run: hugeguard install\n") || strings.Contains(said, "scriptlet failed") {
		t.Errorf("rpm said\n%s", said)
	}
	s.sh("rpm --force-debian --nodeps -e hugeguard")
}
