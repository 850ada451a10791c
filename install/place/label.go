package place

import (
	"path/filepath"

	"hugeguard/install/confine"
)

// confined returns the host whose kernel is asked.
func (t tree) confined() confine.Host {
	host := confine.On(t.daemons())
	if t.kernel != nil {
		host.Kernel = t.kernel
	}
	return host
}

// policyLabel returns the SELinux label of a path by the policy. If the policy has none, the path inherits one, of a
// file the directory of hooks' and of a directory its parent's: inherits is true, and there is nothing to set. An error
// means that the policy's label is not known.
func (t tree) policyLabel(path string, directory bool) (label string, inherits bool, err error) {
	host := t.confined()
	if !host.SELinux() {
		return "", true, nil
	}
	label, err = host.Kernel.PolicyLabel(path, directory)
	if label != "" || err != nil {
		return label, false, err
	}
	for label == "" && path != "/" {
		path = filepath.Dir(path)
		label = host.Kernel.Label(path)
	}
	return label, true, nil
}

// label gives a file or directory the label that the policy has for the path where it will lie. The label must be right
// before libvirt sees the file. Below another root, labels are up to the maker of the image.
func (j *job) label(name, path string, directory bool) error {
	if !j.live {
		return nil
	}
	label, inherits, err := j.policyLabel(path, directory)
	if inherits || err != nil {
		return err
	}
	return j.confined().Kernel.SetLabel(name, label)
}

// labelled is label for what lies at its path already.
func (j *job) labelled(path string, directory bool) error { return j.label(path, path, directory) }

// unlabelled leaves the label as it is.
func unlabelled(string, bool) error { return nil }

// rightLabel reports whether the file at path has the label that the policy has for it.
func (j *job) rightLabel(path string) bool {
	if !j.live {
		return true
	}
	label, inherits, err := j.policyLabel(path, false)
	return inherits || err == nil && j.confined().Kernel.Label(path) == label
}
