package confine

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// The files of selinuxfs. Their formats are those of the kernel's security/selinux/selinuxfs.c.
const (
	selinuxDir = "sys/fs/selinux/"
	accessFile = selinuxDir + "access"
	createFile = selinuxDir + "create"
	validFile  = selinuxDir + "context"
)

// SELinux reports whether SELinux is enabled on the host.
func (h Host) SELinux() bool { return h.Files.Exists(selinuxDir + "enforce") }

// Configured reports whether the host's settings have SELinux on at its next boot (selinux_getenforcemode(3)).
func (h Host) Configured() bool {
	mode := strings.ToLower(h.setting("SELINUX"))
	return mode == "enforcing" || mode == "permissive"
}

// setting returns a setting of /etc/selinux/config, "" if it is not there.
func (h Host) setting(name string) string {
	text, err := h.Files.ReadFile("etc/selinux/config", 1<<16)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+"="); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// Permissive reports whether SELinux only logs what it denies.
func (h Host) Permissive() bool { return h.SELinux() && !h.enforcing() }

// enforcing reports whether SELinux is enforcing.
func (h Host) enforcing() bool {
	text, err := h.Files.ReadFile(selinuxDir+"enforce", 16)
	return err == nil && strings.TrimSpace(string(text)) == "1"
}

// ownLabel is the type of the hook in hugeguard's policy module.
const ownLabel = "hugeguard_exec_t"

// Module reports whether hugeguard's policy module is loaded.
func (h Host) Module() bool { return h.SELinux() && h.valid("system_u:object_r:"+ownLabel+":s0") }

// valid reports whether the policy knows a context.
func (h Host) valid(context string) bool {
	_, err := h.Kernel.Ask(validFile, []byte(context))
	return !errors.Is(err, syscall.EINVAL)
}

// isContext reports whether text looks like a context, USER:ROLE:TYPE or with a level behind.
func isContext(text string) bool {
	return strings.Count(text, ":") >= 2 && !strings.ContainsAny(text, " \t\n<>")
}

// typeOf returns the type in a context.
func typeOf(context string) string {
	if fields := strings.SplitN(context, ":", 4); len(fields) > 2 {
		return shown(fields[2])
	}
	return shown(context)
}

// started returns the context in which systemd starts a program; "" if it is not known.
func (h Host) started(program string) string {
	init, err := h.Proc.ReadFile("proc/1/attr/current", 4096)
	if err != nil {
		return ""
	}
	context, err := h.created(strings.TrimRight(string(init), "\x00\n"), h.known(h.Kernel.Label(program)), "process")
	if err != nil {
		return ""
	}
	return context
}

// known returns the label of a file as the kernel takes it: unlabeled if the policy does not know it any more.
func (h Host) known(label string) string {
	if isContext(label) && h.valid(label) {
		return label
	}
	text, err := h.Files.ReadFile(selinuxDir+"initial_contexts/unlabeled", 4096)
	if err != nil {
		return label
	}
	return strings.TrimRight(string(text), "\x00\n")
}

// class returns the number of a class of objects.
func (h Host) class(name string) (uint64, error) {
	return h.number("class/" + name + "/index")
}

// number reads a file that holds one number.
func (h Host) number(name string) (uint64, error) {
	text, err := h.Files.ReadFile(selinuxDir+name, 32)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", h.Files.Path(selinuxDir+name), err)
	}
	return n, nil
}

// created returns the context that a new object of a class gets: of a process, when source executes target.
func (h Host) created(source, target, class string) (string, error) {
	index, err := h.class(class)
	if err != nil {
		return "", err
	}
	return h.Kernel.Ask(createFile, fmt.Appendf(nil, "%s %s %d", source, target, index))
}

// A question is what a source must be allowed to do to a target.
type question struct {
	source, target, class string
	permissions           []string
}

// An avd is an access vector decision: what of a question is denied, and whether the source's domain is permissive.
type avd struct {
	denied     []string
	permissive bool
}

// permissiveFlag is AVD_FLAGS_PERMISSIVE.
const permissiveFlag = 1

// ask asks the policy.
func (h Host) ask(q question) (a avd, err error) {
	index, err := h.class(q.class)
	if err != nil {
		return a, err
	}
	answer, err := h.Kernel.Ask(accessFile, fmt.Appendf(nil, "%s %s %d", q.source, q.target, index))
	if err != nil {
		return a, err
	}
	var allowed, decided, auditAllow, auditDeny, flags uint32
	var sequence uint64
	if _, err := fmt.Sscanf(answer, "%x %x %x %x %d %x", &allowed, &decided, &auditAllow, &auditDeny, &sequence, &flags); err != nil {
		return a, fmt.Errorf("%s answers %.80q: %w", h.Files.Path(accessFile), answer, err)
	}
	for _, name := range q.permissions {
		bit, err := h.number("class/" + q.class + "/perms/" + name)
		if err != nil || bit == 0 || bit > 32 {
			continue // a permission that this policy does not have
		}
		if allowed&(1<<(bit-1)) == 0 {
			a.denied = append(a.denied, name)
		}
	}
	a.permissive = flags&permissiveFlag != 0
	return a, nil
}

// questions returns what must be allowed so that a daemon can execute the hook (selinux_bprm_creds_for_exec), and what
// libvirt does before: it reads qemu.d and looks at the file. The new process maps the program (selinux_mmap_file).
func (h Host) questions(s Subject, label, dirLabel string) (list []question, err error) {
	if dirLabel != "" {
		list = append(list, question{s.Context, h.known(dirLabel), "dir", []string{"getattr", "open", "read", "search"}})
	}
	after, err := h.created(s.Context, label, "process")
	if err != nil {
		return nil, err
	}
	execute := question{s.Context, label, "file", []string{"getattr", "open", "read", "execute"}}
	if after == s.Context {
		execute.permissions = append(execute.permissions, "execute_no_trans", "map")
		return append(list, execute), nil
	}
	return append(list, execute,
		question{s.Context, after, "process", []string{"transition"}},
		question{after, label, "file", []string{"entrypoint", "read", "execute", "map"}}), nil
}

// deniedBySELinux asks SELinux's policy.
func (h Host) deniedBySELinux(s Subject, hook Hook) (*Denial, error) {
	label := h.known(hook.Label)
	list, err := h.questions(s, label, hook.DirLabel)
	if err != nil {
		return nil, fmt.Errorf("SELinux was not asked whether %s may execute the hook: %w", s.Name, err)
	}
	for _, q := range list {
		a, err := h.ask(q)
		if err != nil {
			return nil, fmt.Errorf("SELinux was not asked whether %s may execute the hook: %w", s.Name, err)
		}
		if a.denied == nil {
			continue
		}
		d := &Denial{Enforced: h.enforcing() && !a.permissive, Fix: h.selinuxFix(label)}
		what := "execute the hook"
		if q.class == "dir" {
			what = "list qemu.d"
		}
		verb := "denies"
		if !d.Enforced {
			verb = "is permissive, but once it enforces it will deny"
		}
		d.Why = fmt.Sprintf("SELinux %s %s (%s) to %s (%s: %s)", verb, s.Name, typeOf(q.source), what, typeOf(q.target), strings.Join(a.denied, " "))
		if d.Enforced {
			d.Why += ", and every start of a guest would fail"
		}
		return d, nil
	}
	return nil, nil
}

// selinuxFix returns what to do so that the hook with a label may be executed.
func (h Host) selinuxFix(label string) string {
	// Where the package hugeguard-selinux has the module for the host's policy.
	moduleFile := path.Join("usr/share/selinux/packages", h.setting("SELINUXTYPE"), "hugeguard.cil")
	switch {
	case !h.Module() && h.Files.Exists(moduleFile):
		return "semodule -X 200 -i /" + moduleFile + ", then run hugeguard install"
	case !h.Module():
		return "install the package hugeguard-selinux, then run hugeguard install"
	case typeOf(label) != ownLabel:
		return "hugeguard install --layout drop-in, since hugeguard-selinux allows only that path"
	}
	return "look in ausearch -m avc -ts recent, and report it as a bug of hugeguard-selinux"
}

// An AVC is a denial in the kernel's log.
type AVC struct {
	Source, Target, Class string
	Command, Name, Path   string
	Inode                 uint64
}

// ParseAVC reads a line of the kernel's or auditd's log; ok is false if it is not a denial that was enforced.
func ParseAVC(line string) (a AVC, ok bool) {
	_, rest, found := strings.Cut(line, "avc:  denied ")
	if !found {
		return a, false
	}
	fields := strings.Fields(rest)
	if slices.Contains(fields, "permissive=1") {
		return a, false
	}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, "=")
		value = strings.Trim(value, `"`)
		switch name {
		case "scontext":
			a.Source = value
		case "tcontext":
			a.Target = value
		case "tclass":
			a.Class = value
		case "comm":
			a.Command = value
		case "name":
			a.Name = value
		case "path":
			a.Path = value
		case "ino":
			a.Inode, _ = strconv.ParseUint(value, 10, 64) // 0 is no file's
		}
	}
	return a, a.Source != "" && a.Target != ""
}

// ownDomain is the domain of the hook in hugeguard's policy module.
const ownDomain = "hugeguard_t"

// ByHook reports whether the hook itself was denied something.
func (a AVC) ByHook() bool { return typeOf(a.Source) == ownDomain }
