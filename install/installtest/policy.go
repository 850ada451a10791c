package installtest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A Policy answers for a kernel, in the formats of selinuxfs and apparmorfs, by the rules that a test gives it.
type Policy struct {
	Rules      map[string]uint32 // "SOURCE TARGET CLASS" to what is allowed: bit n is the permission with the index n+1
	Moves      map[string]string // "SOURCE TARGET" to the context after an execution, if it is another one
	Known      []string          // the contexts that are valid
	Labels     map[string]string // of paths, by the policy; a file has what was set, else that
	Permissive bool              // the daemon's domain
	Profile    string            // AppArmor's answer
	Err        error             // of every question
	LabelErr   error             // of every question about the policy's labels

	Set map[string]string // the labels that were set
}

// Ask answers a question.
func (p *Policy) Ask(file string, question []byte) (string, error) {
	if p.Err != nil {
		return "", p.Err
	}
	words := strings.Fields(string(question))
	switch filepath.Base(file) {
	case "context":
		for _, known := range p.Known {
			if known == string(question) {
				return known, nil
			}
		}
		return "", syscall.EINVAL
	case "create":
		if after := p.Moves[words[0]+" "+words[1]]; after != "" {
			return after, nil
		}
		return words[0], nil
	case "access":
		flags := 0
		if p.Permissive {
			flags = 1
		}
		return fmt.Sprintf("%x ffffffff 0 ffffffff 7 %x", p.Rules[string(question)], flags), nil
	case ".access":
		return p.Profile, nil
	}
	return "", fs.ErrNotExist
}

// PolicyLabel returns the label of a path by the policy.
func (p *Policy) PolicyLabel(path string, _ bool) (string, error) { return p.Labels[path], p.LabelErr }

// Label returns the label that a path has.
func (p *Policy) Label(path string) string {
	if label, ok := p.Set[path]; ok {
		return label
	}
	return p.Labels[path]
}

// SetLabel keeps the label of a file.
func (p *Policy) SetLabel(path, label string) error {
	if p.Set == nil {
		p.Set = map[string]string{}
	}
	p.Set[path] = label
	_, err := os.Lstat(path)
	return err
}

// The classes of the policy, with the names of its permissions in the order of their bits.
var classes = []struct {
	name, index string
	permissions []string
}{
	{"process", "2", []string{"transition"}},
	{"file", "6", []string{"getattr", "open", "read", "execute", "execute_no_trans", "entrypoint", "map"}},
	{"dir", "7", []string{"getattr", "open", "read", "search"}},
}

// WriteSELinux writes below a root what selinuxfs shows: 1 for enforce is enforcing.
func WriteSELinux(t testing.TB, root, enforce string) {
	t.Helper()
	dir := filepath.Join(root, "sys/fs/selinux")
	Write(t, filepath.Join(dir, "enforce"), enforce)
	Write(t, filepath.Join(dir, "initial_contexts/unlabeled"), "system_u:object_r:unlabeled_t:s0\x00")
	for _, c := range classes {
		Write(t, filepath.Join(dir, "class", c.name, "index"), c.index)
		for i, name := range c.permissions {
			Write(t, filepath.Join(dir, "class", c.name, "perms", name), fmt.Sprint(i+1))
		}
	}
}
