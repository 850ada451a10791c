package vm

import (
	"testing"
	"testing/fstest"
)

// TestHash: all that an image is made from is in its name, and nothing else.
func TestHash(t *testing.T) {
	file := func(text string) fstest.MapFS {
		return fstest.MapFS{"rootfs/etc/hosts": {Data: []byte(text)}}
	}
	base := Recipe{Name: "test", Suite: ParseSuite("bookworm"), Packages: []string{"systemd"}, Files: file("one"), Size: "1G"}
	seen := map[string]string{}
	for name, change := range map[string]func(*Recipe){
		"itself":    func(*Recipe) {},
		"a release": func(r *Recipe) { r.Suite = ParseSuite("trixie") },
		"backports": func(r *Recipe) { r.Suite = ParseSuite("bookworm-backports") },
		"a package": func(r *Recipe) { r.Packages = []string{"systemd", "udev"} },
		"a file":    func(r *Recipe) { r.Files = file("two") },
		"the size":  func(r *Recipe) { r.Size = "2G" },
	} {
		r := base
		change(&r)
		hash, err := r.hash()
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[hash]; ok {
			t.Errorf("%s and %s give the same image", name, other)
		}
		seen[hash] = name
	}
	again := base
	again.Files = file("one")
	if hash, err := again.hash(); err != nil || seen[hash] != "itself" {
		t.Errorf("the same recipe gives another image: %v", err)
	}
}
