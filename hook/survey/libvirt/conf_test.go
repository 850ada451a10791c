package libvirt

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"hugeguard/guard"
	"hugeguard/hook/hooktest"
)

func TestParseQEMUConf(t *testing.T) {
	for text, want := range map[string]Conf{
		"":                            {},
		"# hugetlbfs_mount = \"/a\"":  {},
		"hugetlbfs_mount = \"/a\"\n":  {mounts: []string{"/a"}},
		"hugetlbfs_mount=''":          {mounts: []string{""}},
		"hugetlbfs_mount=[]":          {mounts: []string{}},
		" hugetlbfs_mount = '/a # b'": {mounts: []string{"/a # b"}},
		"x = 1 ; hugetlbfs_mount = \"\"\"/a\n'\"b\"\"\" # why\n":                              {mounts: []string{"/a\n'\"b"}},
		"hugetlbfs_mount = [\n \"/a\",\r\n\t'/b' ,\n] # two\ncgroup_controllers=[\"cpuset\"]": {mounts: []string{"/a", "/b"}, controllers: []string{"cpuset"}},
		"hugetlbfs_mount = '/first'\nhugetlbfs_mount = '/second'\n":                           {mounts: []string{"/first"}},
		"my_hugetlbfs_mount = '/a'\nhugetlbfs_mount2='/b'\nHugetlbfs_mount='/c'":              {},
		"max_core = +17\nlow = -1\nports = [ 1, 2 ]\ncgroup_controllers = [ ]\n\n":            {controllers: []string{}},
		"capability_filters = ['thread-context']":                                             {filters: []string{"thread-context"}},
	} {
		if got, err := parseQEMUConf(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for text, says := range map[string]string{
		"user = root":                        `line 1: "root" is not a value`,
		"\n\nuser":                           "line 3",
		"user = 'root":                       "not a string",
		"user = \"ro\not\"":                  "not a string",
		"user = \"\"\"root":                  "not a string",
		"user = 'root' group = 'root'":       "not the end of a line",
		"= 1":                                "not a name",
		"x = -":                              "not a number",
		"x = [ 'a' 'b' ]":                    "not a comma",
		"x = [ 'a',\n # why\n 'b' ]":         "line 2",
		"x = [ , ]":                          "not a value",
		"x = [":                              "not a value",
		"x = [[]]":                           "not a value",
		"x = 1\n  \n \x1b":                   `\x1b`,
		"   ":                                "not a name",
		"hugetlbfs_mount = 1":                "hugetlbfs_mount is not a list",
		"hugetlbfs_mount = [ '/a', 1 ]":      "hugetlbfs_mount is not a list",
		"cgroup_controllers = 'cpuset'":      "cgroup_controllers is not a list",
		"x = [ '" + strings.Repeat("a", 200): "not a string",
	} {
		if got, err := parseQEMUConf(text); err == nil || !strings.Contains(err.Error(), says) || strings.ContainsAny(err.Error(), "\n\x1b") || len(err.Error()) > 120 {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

// FuzzParseQEMUConf: what is read from a file is read again from a file with
// only that in it, and a comment changes nothing.
func FuzzParseQEMUConf(f *testing.F) {
	f.Add("hugetlbfs_mount = [\n \"/a\",\r\n\t'/b' ,\n] # two\ncgroup_controllers=[\"cpuset\"]")
	f.Add("x = 1 ; hugetlbfs_mount = \"\"\"/a\n'\"b\"\"\" # why\n")
	f.Add("max_core = +17\nports = [ 1, 2 ]\ncapability_filters = [ ]\n\n")
	f.Add("# cgroup_controllers = [] cgroup_controllers\n\t# hugetlbfs_mount\nx = \"#\" ; y = 1\n")
	f.Add("x = \"#\" ; hugetlbfs_mount = \"/a\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseQEMUConf(text)
		if err == nil && !mayDecide([]byte(text)) && !reflect.DeepEqual(got, Conf{}) {
			t.Errorf("%+v is not seen at a glance", got)
		}
		again, errAgain := parseQEMUConf("# first\n" + text)
		blank := strings.Trim(text, " \t\r\n") == "" // no statement at all, which libvirt wants after white space
		if !blank && ((err == nil) != (errAgain == nil) || !reflect.DeepEqual(got, again)) {
			t.Errorf("%+v, %v; behind a comment %+v, %v", got, err, again, errAgain)
		}
		left, errLeft := ReduceConf([]byte(text))
		if err != nil && mayDecide([]byte(text)) != (errLeft != nil) {
			t.Errorf("%q: %v, reduced %v", text, err, errLeft)
		}
		if err != nil || errLeft != nil && strings.ContainsAny(fmt.Sprint(got), "\"") {
			return // no quotes serve for three of them, or for one at the end, and a line end, too
		}
		if again, err := parseQEMUConf(string(left)); errLeft != nil || err != nil || !reflect.DeepEqual(got, again) {
			t.Errorf("%+v, written as %q (%v), is %+v, %v", got, left, errLeft, again, err)
		}
	})
}

// TestShippedQEMUConf: the file that libvirt comes with sets nothing.
func TestShippedQEMUConf(t *testing.T) {
	text, err := os.ReadFile(hooktest.Data("qemuconf/debian12.conf"))
	if err != nil {
		t.Fatal(err)
	}
	// Every example in it is to be read, too.
	examples := strings.ReplaceAll(string(text), "\n#", "\n")
	if s, err := parseQEMUConf(string(text)); err != nil || !reflect.DeepEqual(s, Conf{}) {
		t.Errorf("%+v, %v", s, err)
	}
	for _, name := range []string{"cgroup_controllers", "hugetlbfs_mount", "capability_filters"} {
		_, example, ok := strings.Cut(examples, "\n"+name+" = ")
		example, _, _ = strings.Cut(example, "\n")
		if s, err := parseQEMUConf(name + " = " + example); !ok || err != nil {
			t.Errorf("%s: %+v, %v", example, s, err)
		}
	}
}

func TestUseCpuset(t *testing.T) {
	const (
		v2     = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n"
		v1     = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n"
		hybrid = v1 + "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
	)
	for _, test := range []struct {
		name, conf, mounts, controllers string
		want                            any
	}{
		{"v2", "", v2, "cpuset cpu io memory\n", true},
		{"v2, allowed", "cgroup_controllers = [ 'cpu', 'cpuset' ]", v2, "cpuset cpu\n", true},
		{"v2, not allowed", "cgroup_controllers = [ 'cpu' ]", v2, "cpuset cpu\n", false},
		{"none allowed", "cgroup_controllers = []", v2, "cpuset cpu\n", false},
		{"v2 without it", "", v2, "cpu io memory\n", false},
		{"v2 that cannot be read", "", v2, "-", nil},
		{"v1", "", v1, "-", true},
		{"v1, not allowed", "cgroup_controllers = [ 'cpu' ]", v1, "-", false},
		{"both", "", hybrid, "-", true},
		{"no control groups", "", "tmpfs / tmpfs rw 0 0\n", "-", false},
		{"no list of mounts", "", "-", "-", nil},
	} {
		host := hooktest.Incident(t)
		host.Remove("proc/mounts")
		host.Remove("sys/fs/cgroup")
		host.Write(ConfPath, test.conf)
		if test.mounts != "-" {
			host.Write("proc/mounts", test.mounts)
		}
		if test.controllers != "-" {
			host.Write("sys/fs/cgroup/cgroup.controllers", test.controllers)
		}
		var got any
		if may := Read(host.FS()).Releases("", guard.Machine{}).Cpuset; may != nil {
			got = *may
		}
		if got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// A group that is somebody else's, or mounted read-only, is one where libvirt cannot make others. Root can, whatever the
// mode is: that of the root of version 2 lets nobody write.
func TestMayMakeGroups(t *testing.T) {
	dir, user := t.TempDir(), os.Geteuid()
	if !mayMakeGroups(dir, user) {
		t.Error("not in a directory of one's own")
	}
	if mayMakeGroups(dir, user+1) {
		t.Error("in one of another user's")
	}
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	if may, root := mayMakeGroups(dir, user), user == 0; may != root {
		t.Errorf("in one that its owner may not write: %t for user %d", may, user)
	}
	if mayMakeGroups(filepath.Join(dir, "none"), user) {
		t.Error("in one that does not exist")
	}
}
