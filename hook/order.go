package hook

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hugeguard/guard"
)

// DropInDir is the directory beside libvirt's hook for QEMU of which libvirt runs each executable, and DropInName is
// the name of ours there, which is to be the last.
const (
	DropInDir  = "qemu.d"
	DropInName = "zz-hugeguard"
)

// DropInSince is the first libvirt that runs what lies in [DropInDir].
const DropInSince guard.Version = 6_005_000

// Executables returns the names in a directory that libvirt takes for hooks, in the order in which it runs them
// (virHookCall): by name, those that are regular files, or links to regular files, and have an execute bit
// (virFileIsExecutable). stat is how a file is looked at.
func Executables(dir string, stat func(name string) (fs.FileInfo, error)) ([]string, error) {
	entries, err := os.ReadDir(dir) // sorted as by strcmp(3)
	var names []string
	for _, e := range entries {
		info, err := stat(filepath.Join(dir, e.Name()))
		if err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// later returns the paths of the hooks that libvirt 6.5 and later runs after the program: those of qemu.d with a name
// after its own, or all of them where it is the hook beside that. Our own is none of them.
func later(program string) (paths []string) {
	dir, own := filepath.Split(program)
	if filepath.Base(dir) != DropInDir {
		dir, own = filepath.Join(dir, DropInDir), ""
	}
	names, _ := Executables(dir, os.Stat) // of a directory that cannot be read, libvirt runs none, and fails
	for _, name := range names {
		// While it is moved we lie there, too, and whichever of us is called last may be gone by then: each judges.
		if name > own && name != DropInName {
			paths = append(paths, filepath.Join(dir, name))
		}
	}
	return paths
}

// LaterMayMake says why a shortage is no reason to refuse where hooks run after ours, and what to do about it.
func LaterMayMake(paths []string) string {
	const words = "allowed: another hook runs after hugeguard's and may still add pages (%s); to make hugeguard the last, "
	text := strings.Replace(words, "%s", namesOf(paths), 1)
	if rename := filepath.Base(paths[0]); filepath.Base(filepath.Dir(paths[0])) == DropInDir && rename > DropInName {
		return text + "rename that hook so that it sorts before " + DropInName
	}
	return text + "run: hugeguard install"
}

// namesOf lists paths for a message.
func namesOf(paths []string) string {
	const most = 3
	var shown []string
	for i, path := range paths {
		if i == most {
			shown = append(shown, "...")
			break
		}
		shown = append(shown, guard.Printable(path, 120))
	}
	return strings.Join(shown, ", ")
}
