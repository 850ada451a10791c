package reserve

import (
	"os"
	"regexp"
	"strings"
)

// tools are deployment tools that write Nova's configuration, by where they put it.
var tools = []struct{ name, below, where string }{
	{"TripleO", "/var/lib/config-data/", "put the parameter NovaReservedHugePages into an environment file (hugeguard reserve --format tripleo) and deploy"},
	{"RHOSO", "/var/lib/openstack/config/", "put the lines into the ConfigMap nova-extra-config of the data plane (hugeguard reserve --format rhoso) and deploy"},
	{"kolla-ansible", "/etc/kolla/", "put the lines into /etc/kolla/config/nova/HOST/nova.conf of the deploying host (hugeguard reserve --format kolla) and run kolla-ansible reconfigure"},
}

const (
	openstackAnsible = "put the override into the host's variables (hugeguard reserve --format openstack-ansible), or into the user_*.yml that sets nova_nova_conf_overrides, and run its playbook for nova"
	anyTool          = "put the lines of hugeguard reserve into its own sources"
)

// remark is what a tool writes at the beginning of a file that it will write again.
var remark = regexp.MustCompile(`(?i)ansible managed|(?:managed|generated|maintained) by|do not edit|local changes will be (?:lost|overwritten)`)

// remarkLines is how many lines the beginning is.
const remarkLines = 20

// written returns who else writes the files; nil if there is no sign of any.
func written(root string, files []file, contained bool) *Owned {
	for _, f := range files {
		for _, t := range tools {
			if strings.HasPrefix(f.name, t.below) {
				return &Owned{t.name, f.name, t.where}
			}
		}
	}
	for _, f := range files {
		if strings.HasSuffix(f.name, "/"+DropIn) {
			continue
		}
		lines := strings.SplitN(f.text, "\n", remarkLines+1)
		for _, line := range lines[:min(len(lines), remarkLines)] {
			if !strings.HasPrefix(line, "#") || !remark.MatchString(line) {
				continue
			}
			if _, err := os.Stat(root + "/openstack/venvs"); err == nil {
				return &Owned{"openstack-ansible", f.name, openstackAnsible}
			}
			return &Owned{"another tool", f.name, anyTool}
		}
	}
	if contained {
		return &Owned{"what starts the container of nova-compute", names(files), anyTool}
	}
	return nil
}
