package reserve

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hugeguard/guard"
	"hugeguard/guard/nova"
)

const (
	one  = "reserved_huge_pages=node:0,size:2048,count:1"
	want = "reserved_huge_pages=node:0,size:2048,count:512\nreserved_huge_pages=node:1,size:2048,count:512\n"
)

var wanted = []guard.Reservation{{Pool: nova.Pool{Node: 0, PageKiB: 2048}, Count: 512}, {Pool: nova.Pool{Node: 1, PageKiB: 2048}, Count: 512}}

// debian are the sources of a nova-compute that Debian's package starts, rdo those of one without arguments.
var (
	debian = nova.Sources([]string{"--config-file=/etc/nova/nova.conf", "--config-file=/etc/nova/nova-compute.conf"})
	rdo    = nova.Sources(nil)
	single = []nova.Source{{Path: []string{"/etc/nova/nova.conf"}}}
)

func write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		name = filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o750), os.WriteFile(name, []byte(text), 0o640)); err != nil {
			t.Fatal(err)
		}
	}
}

func texts(t *testing.T, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(name)
		all[strings.TrimPrefix(name, root)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// change makes the change that is planned.
func change(t *testing.T, root string, sources []nova.Source, wanted []guard.Reservation) *Change {
	t.Helper()
	c, err := Configuration{Root: root, Sources: sources}.Plan(wanted)
	if err == nil {
		err = c.Do()
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestWrite: what is written wins, is not written twice, and can be taken away again.
func TestWrite(t *testing.T) {
	const dropIn = "/etc/nova/nova.conf.d/" + DropIn
	for _, test := range []struct {
		name    string
		sources []nova.Source
		files   map[string]string
		changed string
	}{
		{"nothing yet", debian, map[string]string{"/etc/nova/nova.conf": "[DEFAULT]\npassword=x\n", "/etc/nova/nova-compute.conf": ""}, dropIn},
		{"a file that comes later", debian, map[string]string{"/etc/nova/nova.conf": "[DEFAULT]\n" + one + "\npassword=x\n", "/etc/nova/nova-compute.conf": ""}, "/etc/nova/nova.conf"},
		{"the last of two", debian, map[string]string{"/etc/nova/nova.conf": "[DEFAULT]\n" + one + "\n", "/etc/nova/nova-compute.conf": "[libvirt]\na=b\n[DEFAULT]\n" + one}, "/etc/nova/nova-compute.conf"},
		{"directories come last", rdo, map[string]string{"/etc/nova/nova.conf": "[DEFAULT]\n" + one + "\n", "/etc/nova/nova.conf.d/a.conf": "[DEFAULT]\n" + one + "\n"}, dropIn},
		{"after all others there", rdo, map[string]string{"/etc/nova/nova.conf": "", "/etc/nova/nova-compute.conf.d/zzz.conf": "[DEFAULT]\n" + one + "\n"}, "/etc/nova/nova-compute.conf.d/zzz.conf"},
		{"in the other directory", rdo, map[string]string{"/etc/nova/nova.conf": "", "/etc/nova/nova-compute.conf.d/a.conf": "[DEFAULT]\n" + one + "\n"}, "/etc/nova/nova-compute.conf.d/" + DropIn},
		{"on several lines", debian, map[string]string{"/etc/nova/nova.conf": "[DEFAULT]\nreserved_huge_pages = node:0,\n  size:2MB\n ,count:1\n# hunter\nx=y\n"}, "/etc/nova/nova.conf"},
		{"one file", []nova.Source{{Path: []string{"/srv/nova.conf"}}}, map[string]string{"/srv/nova.conf": "[DEFAULT]\nx=y\n[libvirt]\nz=1"}, "/srv/nova.conf"},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			write(t, root, test.files)
			before := texts(t, root)
			from := Configuration{Root: root, Sources: test.sources, Named: test.changed == "/srv/nova.conf"}
			c, err := from.Plan(wanted)
			if err != nil || c == nil || c.File != test.changed {
				t.Fatalf("%+v, %v, want a change of %s", c, err, test.changed)
			}
			if !reflect.DeepEqual(texts(t, root), before) {
				t.Error("a plan changes something")
			}
			if diff := strings.Join(c.Diff(), "\n"); !strings.Contains(diff, "+reserved_huge_pages=node:1,size:2048,count:512") || strings.Contains(diff, "password") {
				t.Errorf("%s", diff)
			}
			if err := c.Do(); err != nil {
				t.Fatal(err)
			}
			if text := texts(t, root)[test.changed]; !strings.Contains(text, "[DEFAULT]\n"+want) {
				t.Errorf("%s", text)
			}
			if again, err := from.Plan(wanted); again != nil || err != nil {
				t.Errorf("and again %+v, %v", again, err)
			}
			if backup := c.Backup(); backup != "" && texts(t, root)[strings.TrimPrefix(backup, root)] != before[test.changed] {
				t.Errorf("%s is not as the file was", backup)
			}
			removals, err := from.PlanRemoval()
			if err != nil || len(removals) != 1 {
				t.Fatalf("%+v, %v", removals, err)
			}
			if err := removals[0].Do(); err != nil {
				t.Fatal(err)
			}
			after := texts(t, root)
			delete(after, test.changed+".before-hugeguard")
			for name := range before {
				before[name], after[name] = strings.TrimSuffix(before[name], "\n"), strings.TrimSuffix(after[name], "\n")
			}
			if !reflect.DeepEqual(after, before) {
				t.Errorf("%q is left, before %q", after, before)
			}
		})
	}
}

// TestReservesNothing: a line that reserves no page asks for no change, and is in nobody's way.
func TestReservesNothing(t *testing.T) {
	root, zero := t.TempDir(), "[DEFAULT]\nreserved_huge_pages=node:2,size:2048,count:0\n"
	write(t, root, map[string]string{"/etc/nova/nova.conf": "[DEFAULT]\n" + want + zero, "/etc/nova/nova-compute.conf": zero})
	if c, err := (Configuration{Root: root, Sources: debian}).Plan(wanted); c != nil || err != nil {
		t.Errorf("%+v, %v", c, err)
	}
	write(t, root, map[string]string{"/etc/nova/nova.conf": zero})
	if c, err := (Configuration{Root: root, Sources: debian}).Plan(wanted); c == nil || err != nil {
		t.Errorf("%+v, %v where pages lack", c, err)
	}
}

// TestOwnerAndMode: a file keeps its own, and a new one is for the readers of the one beside it, but others than its owner
// do not write to it.
func TestOwnerAndMode(t *testing.T) {
	if os.Getuid() != 0 {
		return // nobody else can give files away
	}
	list := acl(0o640, 11)
	for _, test := range []struct {
		sources    []nova.Source
		mode, want fs.FileMode
		list       []byte
	}{
		{debian, 0o640, 0o640, nil},
		{debian, 0o666 | fs.ModeSetuid, 0o644, nil},
		{debian, 0o640, 0o640, list},
		{debian, 0o666, 0o644, acl(0o666, 11)},
		{single, 0o640, 0o640, nil},
		{single, 0o664, 0o644, nil},
		{single, 0o640, 0o640, list},
		{single, 0o666, 0o644, acl(0o666, 11)},
	} {
		root := t.TempDir()
		write(t, root, map[string]string{"/etc/nova/real": "[DEFAULT]\n"})
		conf := filepath.Join(root, "etc/nova/nova.conf")
		real := filepath.Join(root, "etc/nova/real")
		if err := errors.Join(os.Symlink("real", conf), os.Chown(real, 7, 8), os.Chmod(real, test.mode), os.Chown(filepath.Dir(real), 0, 10)); err != nil {
			t.Fatal(err)
		}
		if test.list != nil {
			if err := unix.Setxattr(real, "system.posix_acl_access", test.list, 0); err != nil {
				t.Fatal(err)
			}
		}
		c := change(t, root, test.sources, wanted)
		written := filepath.Join(root, c.File)
		info, err := os.Lstat(written)
		if err != nil {
			t.Fatal(err)
		}
		if c.File == "/etc/nova/nova.conf" {
			if info.Mode()&fs.ModeSymlink == 0 {
				t.Error("the link is gone")
			}
			written = real
			info, _ = os.Stat(real)
		}
		// Who may not make a file there gets none.
		stat, uid := info.Sys().(*syscall.Stat_t), uint32(0)
		if written == real {
			uid = 7
		}
		if stat.Uid != uid || stat.Gid != 8 || info.Mode() != test.want {
			t.Errorf("%s has %d:%d %v", c.File, stat.Uid, stat.Gid, info.Mode())
		}
		got := make([]byte, 1024)
		if n, err := unix.Getxattr(written, "system.posix_acl_access", got); n > 0 != (test.list != nil) || n > 0 && !bytes.Equal(got[:n], acl(uint16(test.want), 11)) {
			t.Errorf("%s has the list %x, %v", c.File, got[:max(n, 0)], err)
		}
		if c.File != "/etc/nova/nova.conf" {
			dir, _ := os.Stat(filepath.Dir(filepath.Join(root, c.File)))
			if stat := dir.Sys().(*syscall.Stat_t); stat.Uid != 0 || stat.Gid != 10 || dir.Mode().Perm() != 0o750 {
				t.Errorf("its directory has %d:%d %v", stat.Uid, stat.Gid, dir.Mode())
			}
		}
	}
}

// acl returns an access control list as the kernel keeps it (linux/posix_acl_xattr.h): a file of that mode, which one more
// user may read.
func acl(mode uint16, user uint32) []byte {
	const userObj, namedUser, groupObj, mask, other, nobody = 1, 2, 4, 16, 32, 0xffffffff
	list := binary.LittleEndian.AppendUint32(nil, 2) // the version
	for _, entry := range []struct {
		tag, perm uint16
		id        uint32
	}{{userObj, mode >> 6 & 7, nobody}, {namedUser, 4, user}, {groupObj, mode >> 3 & 7, nobody}, {mask, mode >> 3 & 7, nobody}, {other, mode & 7, nobody}} {
		list = binary.LittleEndian.AppendUint16(list, entry.tag)
		list = binary.LittleEndian.AppendUint16(list, entry.perm)
		list = binary.LittleEndian.AppendUint32(list, entry.id)
	}
	return list
}

// TestNotAnothersChoice: Nova's account owns directories of its configuration. Whatever it puts there, and whenever, root
// reads and writes nothing outside of them.
func TestNotAnothersChoice(t *testing.T) {
	if os.Getuid() != 0 {
		return // nobody else can give files away
	}
	const account = 64060
	files := map[string]string{"/etc/nova/nova.conf": "[DEFAULT]\n", "/etc/nova/nova.conf.d/a.conf": "[DEFAULT]\n", "/etc/secret/b.conf": "[DEFAULT]\npassword=x\n"}
	replace := func(root, name, target string) {
		name = filepath.Join(root, name)
		if err := errors.Join(os.RemoveAll(name), os.Symlink(target, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name    string
		sources []nova.Source
		attack  func(root string)
		late    bool // after the plan
	}{
		{"a file's link", single, func(root string) { replace(root, "/etc/nova/nova.conf", "../secret/b.conf") }, false},
		{"a file's absolute link", single, func(root string) { replace(root, "/etc/nova/nova.conf", "/etc/secret/b.conf") }, false},
		{"a directory's link", rdo, func(root string) { replace(root, "/etc/nova/nova.conf.d", "../secret") }, false},
		{"a link in the directory", rdo, func(root string) { replace(root, "/etc/nova/nova.conf.d/c.conf", "../../secret/b.conf") }, false},
		{"a file's link, after it was read", single, func(root string) { replace(root, "/etc/nova/nova.conf", "../secret/b.conf") }, true},
		{"a directory's link, after it was read", rdo, func(root string) { replace(root, "/etc/nova/nova.conf.d", "../secret") }, true},
		{"a directory of its choice", []nova.Source{{Path: []string{"/etc/nova/nova.conf"}}, {Path: []string{"/etc/nova/rootwrap.d"}, Dir: true, Named: true}}, func(root string) {
			// The file itself is changed.
			replace(root, "/etc/nova/nova.conf", "/etc/secret/b.conf")
		}, false},
		{"a hard link", single, func(root string) {
			if err := errors.Join(os.Remove(root+"/etc/nova/nova.conf"), os.Link(root+"/etc/secret/b.conf", root+"/etc/nova/nova.conf")); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"a FIFO", single, func(root string) {
			if err := errors.Join(os.Remove(root+"/etc/nova/nova.conf"), syscall.Mkfifo(root+"/etc/nova/nova.conf", 0o644)); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"another file, after it was read", single, func(root string) {
			other := root + "/etc/nova/other"
			if err := errors.Join(os.WriteFile(other, []byte("[DEFAULT]\nx=y\n"), 0o600), os.Rename(other, root+"/etc/nova/nova.conf")); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"a name of its choice", []nova.Source{{Path: []string{"/etc/secret/b.conf"}, Named: true}}, func(string) {}, false},
		{"a name with dots", []nova.Source{{Path: []string{"/etc/nova/../secret/b.conf"}, Named: true}}, func(string) {}, false},
	} {
		root := t.TempDir()
		write(t, root, files)
		for _, dir := range []string{"/etc/nova", "/etc/nova/nova.conf.d"} {
			if err := os.Chown(root+dir, account, account); err != nil {
				t.Fatal(err)
			}
		}
		if !test.late {
			test.attack(root)
		}
		c, err := Configuration{Root: root, Sources: test.sources}.Plan(wanted)
		if test.late {
			if err != nil {
				t.Fatal(err)
			}
			test.attack(root)
			err = c.Do()
		}
		if err == nil {
			t.Errorf("%s: it is followed", test.name)
		}
		if got := texts(t, root+"/etc/secret"); !reflect.DeepEqual(got, map[string]string{"/b.conf": files["/etc/secret/b.conf"]}) {
			t.Errorf("%s: %q", test.name, got)
		}
	}
}

// TestDefaultList: a list that the directory gives to new files lets nobody read what Nova's file kept from them.
func TestDefaultList(t *testing.T) {
	root := t.TempDir()
	write(t, root, map[string]string{"/etc/nova/nova.conf": "[DEFAULT]\npassword=x\n"})
	if err := unix.Setxattr(root+"/etc/nova", "system.posix_acl_default", acl(0o777, 64060), 0); err != nil {
		t.Fatal(err)
	}
	change(t, root, single, wanted)
	for name := range texts(t, root) {
		info, err := os.Stat(root + name)
		if err != nil || info.Mode() != 0o640 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
		if n, err := unix.Getxattr(root+name, "system.posix_acl_access", nil); err != unix.ENODATA {
			t.Errorf("%s has a list of %d bytes, %v", name, n, err)
		}
	}
}

// TestBeside: a link to a file beside it is followed, though others own the directory.
func TestBeside(t *testing.T) {
	root := t.TempDir()
	write(t, root, map[string]string{"/etc/nova/real.conf": "[DEFAULT]\n"})
	if err := errors.Join(os.Symlink("real.conf", root+"/etc/nova/nova.conf"), os.Chmod(root+"/etc/nova", 0o770)); err != nil {
		t.Fatal(err)
	}
	change(t, root, single, wanted)
	if text := texts(t, root)["/etc/nova/real.conf"]; !strings.Contains(text, want) {
		t.Errorf("%q", text)
	}
}

// TestRemoveElsewhere: lines that cannot be removed are not passed over.
func TestRemoveElsewhere(t *testing.T) {
	root := t.TempDir()
	write(t, root, map[string]string{"/srv/nova.conf": begin + "\n[DEFAULT]\n" + one + "\n" + end + "\n"})
	from := Configuration{Root: root, Sources: []nova.Source{{Path: []string{"/srv/nova.conf"}}}}
	if changes, err := from.PlanRemoval(); err == nil || !strings.Contains(err.Error(), "/srv/nova.conf") {
		t.Errorf("%v, %v", changes, err)
	}
	from.Named = true
	if changes, err := from.PlanRemoval(); err != nil || len(changes) != 1 {
		t.Errorf("%v, %v", changes, err)
	}
}

// TestUnchanged: right before it is replaced, a file is still the one that was read.
func TestUnchanged(t *testing.T) {
	for name, test := range map[string]struct {
		change func(name string) error
		same   bool
	}{
		"as it was": {func(string) error { return nil }, true},
		"gone":      {os.Remove, false},
		"longer":    {func(name string) error { return os.WriteFile(name, []byte("[DEFAULT]\nx=y\n"), 0o640) }, false},
		"later":     {func(name string) error { return os.Chtimes(name, time.Time{}, time.Unix(1e9, 0)) }, false},
		"another": {func(name string) error {
			return errors.Join(os.Rename(name, name+".old"), os.Link(name+".old", name+".older"), os.WriteFile(name, []byte("[DEFAULT]\n"), 0o640))
		}, false},
	} {
		root := t.TempDir()
		write(t, root, map[string]string{"/nova.conf": "[DEFAULT]\n"})
		at, err := find(root, "/nova.conf")
		if err != nil {
			t.Fatal(err)
		}
		defer at.dir.Close()
		f, err := at.open()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		opened, err := f.Stat()
		if err := errors.Join(err, test.change(root+"/nova.conf")); err != nil {
			t.Fatal(err)
		}
		if err := at.unchanged(f, opened); (err == nil) != test.same {
			t.Errorf("%s: %v", name, err)
		}
		if err := at.unchanged(nil, nil); (err == nil) != (name == "gone") {
			t.Errorf("%s, where there was none: %v", name, err)
		}
	}
}

// TestGive: a directory that is not as it was made keeps its owner and its mode.
func TestGive(t *testing.T) {
	root := t.TempDir()
	write(t, root, map[string]string{"/there/secret": "x"})
	dir, err := os.OpenRoot(root + "/there")
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	like, err := os.Stat(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(root, 0o755), os.Chmod(root+"/there", 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := give(dir, like); err == nil {
		t.Error("another's directory is given away")
	}
	if info, err := os.Stat(root + "/there"); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestChangedMeanwhile: what somebody wrote after hugeguard had read it is not lost.
func TestChangedMeanwhile(t *testing.T) {
	root := t.TempDir()
	write(t, root, map[string]string{"/etc/nova/nova.conf": "[DEFAULT]\n"})
	c, err := Configuration{Root: root, Sources: single}.Plan(wanted)
	if err != nil {
		t.Fatal(err)
	}
	write(t, root, map[string]string{"/etc/nova/nova.conf": "[DEFAULT]\nadded=1\n"})
	if err := c.Do(); err == nil || !strings.Contains(err.Error(), "changed meanwhile") {
		t.Error(err)
	}
	if got := texts(t, root); len(got) != 1 || got["/etc/nova/nova.conf"] != "[DEFAULT]\nadded=1\n" {
		t.Errorf("%q", got)
	}
}

// TestOwned: what a tool writes is left alone.
func TestOwned(t *testing.T) {
	kolla := []nova.Source{{Path: []string{"/etc/kolla/nova-compute/nova.conf"}}}
	for _, test := range []struct {
		tool      string
		sources   []nova.Source
		files     map[string]string
		contained bool
	}{
		{"kolla-ansible", kolla, map[string]string{"/etc/kolla/nova-compute/nova.conf": "[DEFAULT]\n"}, false},
		{"RHOSO", nova.Deployments()[0].Sources, map[string]string{"/var/lib/openstack/config/nova/01-nova.conf": "[DEFAULT]\n"}, false},
		{"TripleO", nova.Deployments()[1].Sources, map[string]string{"/var/lib/config-data/puppet-generated/nova_libvirt/etc/nova/nova.conf": "[DEFAULT]\n"}, false},
		{"openstack-ansible", debian, map[string]string{"/etc/nova/nova.conf": "# Ansible managed\n[DEFAULT]\n", "/openstack/venvs/x": ""}, false},
		{"another tool", debian, map[string]string{"/etc/nova/nova.conf": "# This file is managed by Puppet\n[DEFAULT]\n"}, false},
		{"what starts the container of nova-compute", debian, map[string]string{"/etc/nova/nova.conf": "[DEFAULT]\n"}, true},
	} {
		root := t.TempDir()
		write(t, root, test.files)
		before := texts(t, root)
		c, err := Configuration{Root: root, Sources: test.sources, Contained: test.contained}.Plan(wanted)
		var owned Owned
		if !errors.As(err, &owned) || owned.Tool != test.tool {
			t.Errorf("%s: %+v, %v", test.tool, c, err)
		}
		if !reflect.DeepEqual(texts(t, root), before) {
			t.Errorf("%s: something was written", test.tool)
		}
		for name, text := range test.files {
			if strings.HasSuffix(name, ".conf") {
				write(t, root, map[string]string{name: text + want})
			}
		}
		if c, err := (Configuration{Root: root, Sources: test.sources, Contained: test.contained}).Plan(wanted); c != nil || err != nil {
			t.Errorf("%s: %+v, %v where it reserves this already", test.tool, c, err)
		}
	}
}

// TestCannotWrite: a file that others put in the place of the drop-in stays, as does all where nothing can be written.
func TestCannotWrite(t *testing.T) {
	root := t.TempDir()
	write(t, root, map[string]string{"/etc/nova/nova.conf": "[DEFAULT]\n", "/etc/nova/nova.conf.d/a": ""})
	if err := os.Symlink("a", filepath.Join(root, "/etc/nova/nova.conf.d", DropIn)); err != nil {
		t.Fatal(err)
	}
	if c, err := (Configuration{Root: root, Sources: debian}).Plan(wanted); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := (Configuration{Root: t.TempDir(), Sources: debian}).Plan(wanted); err == nil {
		t.Errorf("%+v without any configuration", c)
	}
}

func FuzzInPlace(f *testing.F) {
	f.Add("[DEFAULT]\n" + one + "\nx=y\n")
	f.Add("[DEFAULT]\nreserved_huge_pages = node:0\n ,size:2MB\n\t,count:1\n\n[a]\nb=c")
	f.Add(begin + "\n" + one)
	for _, text := range edited {
		f.Add(text)
	}
	f.Fuzz(checkInPlace)
}

// edited are texts that an admin changed after hugeguard wrote them, or that look as if it had.
var edited = []string{
	"[libvirt]\na=b\n" + begin + "\n[DEFAULT]\n" + one + "\nadded=1\n" + end + "\n",
	"[libvirt]\na=b\n" + begin + "\n[DEFAULT]\n" + one + "\n" + end + "\nadded=1\n",
	"[libvirt]\na=b\n" + begin + "\n[DEFAULT]\n" + one + "\n[keystone_authtoken]\npassword=x\n" + end + "\n[libvirt]\nc=d\n",
	"[DEFAULT]\n" + begin + "\n[DEFAULT]\n" + one + "\n\n[keystone_authtoken]\npassword=x\n",
	"[DEFAULT]\nx=y\r\r\n" + one + "\ntransport_url=rabbit://u:secret@h\n",
	"[DEFAULT]\rx=y\r" + one + "\rtransport_url=rabbit://u:secret@h",
	"[DEFAULT]\n# hugeguard: pages of OVS, keep\n# hugeguard: see a=b\n" + one + "\n",
	"[DEFAULT]\n# hugeguard: pages of OVS\n" + begin + "\n[DEFAULT]\n" + one + "\n" + end + "\n" + commented + "reserved_huge_pages=node:0\n" + commented + " ,size:4,count:1\n" + commented + " keep\n",
	"[DEFAULT]\n" + commented + one + "\nx=y\n",
	begin + "\n[DEFAULT]\n" + one + "\n" + end + "\n" + begin + "\n[DEFAULT]\n" + one + "\nx=y\n" + end,
	"[DEFAULT]\nx=y\n" + end + "\n[a]\n" + begin + "\n[DEFAULT]\n" + one + "\n [b]\n" + end + "\nb=c",
}

// meanings are the settings besides the option in their order, each with its section, and the comments of others.
func meanings(text string) (all []string) {
	header, within := "", false
	for _, l := range strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text), "\n") {
		continued := strings.HasPrefix(l, " ") || strings.HasPrefix(l, "\t")
		key, _, _ := strings.Cut(strings.ReplaceAll(l, ":", "="), "=")
		if !continued {
			within = strings.TrimSpace(key) == option && header == "[DEFAULT]"
		}
		l = strings.TrimSpace(l)
		switch {
		case l == "" || l == begin || l == end || within || strings.HasPrefix(l, commented+option):
		case strings.HasPrefix(l, commented+" "), strings.HasPrefix(l, commented+"\t"): // continues a setting, or will
		case l[0] == '[' && !continued:
			header = l
		case l[0] == '#' || l[0] == ';':
			all = append(all, l)
		default:
			all = append(all, header+l)
		}
	}
	return all
}

// checkInPlace: nothing is lost, Nova can read the result, and the lines can be replaced and taken away again.
func checkInPlace(t *testing.T, text string) {
	lines := strings.Split(strings.TrimSpace(want), "\n")
	changed, err := inPlace("x", text, lines)
	if err != nil {
		return // nobody can read it, or it has to be edited by hand: nothing is written
	}
	if is, err := reserves([]file{{"x", changed}}); err != nil || len(is) != 2 {
		t.Errorf("%q becomes %q, of which Nova makes %v, %v", text, changed, is, err)
	}
	if got, want := meanings(changed), meanings(text); !slices.Equal(got, want) {
		t.Errorf("%q becomes %q, so %q becomes %q", text, changed, want, got)
	}
	if again, err := inPlace("x", changed, lines); again != changed {
		t.Errorf("%q becomes %q, and then %q, %v", text, changed, again, err)
	}
	back, err := restored("x", changed)
	if err != nil || new(nova.Config).Add("x", back) != nil || !slices.Equal(meanings(back), meanings(text)) {
		t.Errorf("%q becomes %q, and back %q, %v", text, changed, back, err)
	}
	if before, err := restored("x", text); err != nil || strings.TrimSuffix(back, "\n") != strings.TrimSuffix(before, "\n") {
		t.Errorf("%q becomes %q, and back %q, not %q, %v", text, changed, back, before, err)
	}
}

// TestInPlace: as the fuzz target, with texts that are put together of what hugeguard and an admin write.
func TestInPlace(t *testing.T) {
	parts := []string{"[DEFAULT]", "[a]", one, "x=y", "reserved_huge_pages = node:0,", " size:4,count:1", " z", "", "# note", begin, end, commented + one,
		commented + " size:4,count:1", "# hugeguard: pages: keep"}
	rnd := rand.New(rand.NewPCG(1, 2)) // the same cases each time
	accepted := 0
	for range 2000 {
		text := "[DEFAULT]\n"
		for range rnd.IntN(9) {
			text += parts[rnd.IntN(len(parts))] + []string{"\n", "\n", "\n", "\r\n", "\r"}[rnd.IntN(5)]
		}
		if _, err := inPlace("x", text, strings.Fields(want)); err == nil {
			accepted++
		}
		checkInPlace(t, text)
	}
	if accepted < 200 {
		t.Errorf("only %d texts could be changed", accepted)
	}
}

// TestEdited: an edit of hugeguard's lines costs the admin nothing, or nothing is written.
func TestEdited(t *testing.T) {
	for i, text := range edited {
		root := t.TempDir()
		write(t, root, map[string]string{"/etc/nova/nova.conf": text})
		for _, plan := range []func() ([]*Change, error){
			func() ([]*Change, error) {
				c, err := Configuration{Root: root, Sources: single}.Plan(wanted)
				return []*Change{c}, err
			},
			func() ([]*Change, error) { return Configuration{Root: root, Sources: single}.PlanRemoval() },
		} {
			changes, err := plan()
			for _, c := range changes {
				if err != nil || c == nil {
					continue
				}
				if diff := strings.Join(c.Diff(), "\n"); strings.Contains(diff, "secret") || strings.Contains(diff, "password") {
					t.Errorf("%d shows %s", i, diff)
				}
				if err := c.Do(); err != nil {
					t.Errorf("%d: %v", i, err)
				}
			}
			if now := texts(t, root)["/etc/nova/nova.conf"]; !slices.Equal(meanings(now), meanings(text)) {
				t.Errorf("%d: %q becomes %q", i, text, now)
			}
		}
	}
}

// TestDropInEdited: what others add to the drop-in stays, and a file of theirs by its name does, too.
func TestDropInEdited(t *testing.T) {
	const name = "/etc/nova/nova.conf.d/" + DropIn
	for text, left := range map[string]string{
		dropInHead + "[DEFAULT]\n" + one + "\nadded=1\n[a]\nb=c\n": "[DEFAULT]\nadded=1\n[a]\nb=c\n",
		dropInHead + "[DEFAULT]\n" + one + "\n":                    "",
		"[a]\nb=c\n":                                               "[a]\nb=c\n",
	} {
		root := t.TempDir()
		write(t, root, map[string]string{"/etc/nova/nova.conf": "[DEFAULT]\n", name: text})
		change(t, root, debian, wanted)
		if now := texts(t, root)[name]; !slices.Equal(meanings(strings.TrimPrefix(now, dropInHead)), meanings(left)) {
			t.Errorf("%q becomes %q", text, now)
		}
		changes, err := Configuration{Root: root, Sources: debian}.PlanRemoval()
		if err != nil || len(changes) != 1 {
			t.Fatalf("%q: %+v, %v", text, changes, err)
		}
		if err := changes[0].Do(); err != nil {
			t.Fatal(err)
		}
		if now := texts(t, root)[name]; now != left {
			t.Errorf("%q is left of %q", now, text)
		}
	}
}

// TestBackup: it is the file as it was before hugeguard's first line, even if that is not the first time.
func TestBackup(t *testing.T) {
	root := t.TempDir()
	for _, text := range []string{"[DEFAULT]\nold=1\n", "[DEFAULT]\nnew=1\n"} {
		write(t, root, map[string]string{"/etc/nova/nova.conf": text})
		for i, want := range [][]guard.Reservation{wanted[:1], wanted} {
			c := change(t, root, single, want)
			if made := c.Backup() != ""; made != (i == 0) || texts(t, root)["/etc/nova/nova.conf.before-hugeguard"] != text {
				t.Errorf("write %d made a backup: %v; there is %q", i, made, texts(t, root))
			}
		}
	}
}

// TestRoot: below another root nothing is read or written outside of it, wherever links lead.
func TestRoot(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	write(t, outside, map[string]string{"nova.conf": "[DEFAULT]\n"})
	write(t, root, map[string]string{outside + "/nova.conf": "[DEFAULT]\ncpu_allocation_ratio=1\n"})
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(root, "etc/nova")); err != nil {
		t.Fatal(err)
	}
	change(t, root, rdo, wanted)
	if got := texts(t, outside); len(got) != 1 || got["/nova.conf"] != "[DEFAULT]\n" {
		t.Errorf("outside there is %v", got)
	}
	if inside := texts(t, root+outside); !strings.Contains(inside["/nova.conf.d/"+DropIn]+inside["/nova.conf"], want) {
		t.Errorf("inside there is %v", inside)
	}
}
