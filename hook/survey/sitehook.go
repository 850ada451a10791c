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
	hookLimit = 64 << 10 // bytes that are read of one, from its beginning
)

// idleHooks returns the scripts of the site's that are to run before a domain starts and do not, as they are not
// executable: libvirt's hooks for QEMU (virHookCall, virFileIsExecutable), and what the script that many sites have in
// their place runs for the domain (qemu.d/NAME/prepare/begin), of which libvirt itself runs none.
func idleHooks(root sysfs.FS, domain guard.Domain) (idle []guard.IdleHook) {
	hooks := libvirtHooks(root)
	var own []hookFile
	if slices.ContainsFunc(hooks, hookFile.dispatches) && domain.Name != "" && !strings.HasPrefix(domain.Name, ".") && !strings.Contains(domain.Name, "/") {
		own = hookFiles(root, filesIn(root, path.Join(hooksDir, "qemu.d", domain.Name, "prepare/begin")))
	}
	for i, h := range slices.Concat(hooks, own) {
		if !h.idle || !h.script() {
			continue
		}
		runsOwn := i < len(hooks) && h.dispatches() && slices.ContainsFunc(own, hookFile.makes)
		idle = append(idle, guard.IdleHook{Path: "/" + h.name, Makes: h.makes() || runsOwn && !h.foreign, Foreign: h.foreign})
	}
	return idle
}

// libvirtHooks returns the files that libvirt runs, or hugeguard in the place of libvirt's hook, but for their mode.
func libvirtHooks(root sysfs.FS) []hookFile {
	hooks := hookFiles(root, []string{hooksDir + "/qemu"})
	if len(hooks) == 1 && !hooks[0].script() {
		hooks = append(hooks, hookFiles(root, []string{hooksDir + "/qemu.site"})...) // for it may be hugeguard
	}
	return append(hooks, hookFiles(root, filesIn(root, hooksDir+"/qemu.d"))...)
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

// hookFile is a regular file that is run as a hook, or would be.
type hookFile struct {
	name    string
	idle    bool   // it is not executable
	foreign bool   // it is a link, or others than root can change it
	text    string // its beginning
}

// hookFiles returns those of the named files that are there. A copy of them need not show their mode, nor whose they are.
func hookFiles(root sysfs.FS, names []string) (hooks []hookFile) {
	for _, name := range names {
		info, err := root.Stat(name)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		h := hookFile{name: name}
		h.idle = !root.Sure(name, func() bool { return info.Mode()&0o111 != 0 })
		h.foreign = !root.Sure(name+".roots", func() bool {
			_, err := root.ReadStartOfRoots(name, 1)
			return err == nil
		})
		text, _ := root.ReadStart(name, hookLimit) // as the last, for a capture keeps that
		h.text = string(text)
		hooks = append(hooks, h)
	}
	return hooks
}

func (h hookFile) script() bool     { return strings.HasPrefix(h.text, "#!") }
func (h hookFile) makes() bool      { return !h.foreign && strings.Contains(h.text, "hugepages") }
func (h hookFile) dispatches() bool { return strings.Contains(h.text, "qemu.d") }

// reduceHook keeps what is looked for in a hook.
func reduceHook(text []byte) ([]byte, error) {
	kept := []byte{}
	if bytes.HasPrefix(text, []byte("#!")) {
		kept = append(kept, "#!\n"...)
	}
	for _, word := range []string{"hugepages", "qemu.d"} {
		if bytes.Contains(text, []byte(word)) {
			kept = append(kept, word+"\n"...)
		}
	}
	return kept, nil
}
