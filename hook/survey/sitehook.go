package survey

import (
	"bytes"
	"path"
	"slices"
	"strings"

	"hugeguard/guard"
	"hugeguard/sysfs"
)

const (
	hooksDir  = "etc/libvirt/hooks"
	mostHooks = 64       // of one folder
	hookLimit = 64 << 10 // bytes that are read of one
)

// idleHooks returns the scripts of the site's that are to run before a domain starts and do not, as they are not
// executable: libvirt's hooks for QEMU (virHookCall, virFileIsExecutable), and what the script that many sites have in
// their place runs for the domain (qemu.d/NAME/prepare/begin).
func idleHooks(root sysfs.FS, domain guard.Domain) (idle []guard.IdleHook) {
	names := []string{hooksDir + "/qemu", hooksDir + "/qemu.site"}
	names = append(names, filesIn(root, hooksDir+"/qemu.d")...)
	var own []string
	if domain.Name != "" && !strings.HasPrefix(domain.Name, ".") && !strings.Contains(domain.Name, "/") {
		own = filesIn(root, path.Join(hooksDir, "qemu.d", domain.Name, "prepare/begin"))
	}
	makes := func(name string) bool { return mentions(root, name, "hugepages") }
	for _, name := range append(names, own...) {
		if !isIdle(root, name) || !mentions(root, name, "#!") {
			continue
		}
		runsOwn := !slices.Contains(own, name) && mentions(root, name, "qemu.d")
		idle = append(idle, guard.IdleHook{Path: "/" + name, Makes: makes(name) || runsOwn && slices.ContainsFunc(own, makes)})
	}
	return idle
}

// filesIn returns the paths of the files of a folder, but for copies that editors and package managers leave.
func filesIn(root sysfs.FS, dir string) (names []string) {
	found, _ := root.ReadDir(dir)
	slices.Sort(found)
	for _, name := range found[:min(len(found), mostHooks)] {
		end := path.Ext(name)
		if !strings.HasPrefix(name, ".") && !strings.HasSuffix(name, "~") && !slices.Contains([]string{".bak", ".orig", ".rpmsave", ".rpmnew", ".disabled", ".sample"}, end) &&
			!strings.HasPrefix(end, ".dpkg-") {
			names = append(names, path.Join(dir, name))
		}
	}
	return names
}

// isIdle reports whether a file is one that libvirt would run if it were executable. A copy of it need not show its mode.
func isIdle(root sysfs.FS, name string) bool {
	return root.Exists(name) && !root.Sure(name, func() bool {
		info, err := root.Stat(name)
		return err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 != 0
	})
}

// mentions reports whether a small file has a text in it.
func mentions(root sysfs.FS, name, text string) bool {
	data, err := root.ReadFile(name, hookLimit)
	return err == nil && bytes.Contains(data, []byte(text))
}

// reduceHook keeps what is looked for in a hook.
func reduceHook(text []byte) ([]byte, error) {
	kept := []byte{}
	for _, word := range []string{"#!", "hugepages", "qemu.d"} {
		if bytes.Contains(text, []byte(word)) {
			kept = append(kept, word+"\n"...)
		}
	}
	return kept, nil
}
