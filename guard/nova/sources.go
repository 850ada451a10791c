package nova

import "strings"

// Source is a file that nova-compute reads its configuration from, or a directory of which it reads the files *.conf by
// name.
type Source struct {
	// Path is absolute; of several, the first that exists.
	Path []string
	Dir  bool
	// Named says that it was asked for: nova-compute does not start without it.
	Named bool
}

// Sources returns what nova-compute reads when it is started with arguments, in this order (oslo_config/cfg.py,
// ConfigOpts._parse_config_files and find_config_files for the project nova and the program nova-compute): the default
// files unless a --config-file is named, the default directories unless a --config-dir is, then what is named. What
// depends on the user's home directory is left out. nova-dist.conf is RDO's addition.
func Sources(arguments []string) []Source {
	var named []Source
	files, dirs := false, false
	for i := 0; i < len(arguments); i++ {
		name, value, ok := strings.Cut(arguments[i], "=")
		if name != "--config-file" && name != "--config-dir" {
			continue
		}
		if !ok {
			if i++; i == len(arguments) {
				break
			}
			value = arguments[i]
		}
		dir := name == "--config-dir"
		files, dirs = files || !dir, dirs || dir
		named = append(named, Source{[]string{value}, dir, true})
	}
	var sources []Source
	if !files {
		sources = append(sources, Source{Path: []string{"/usr/share/nova/nova-dist.conf"}})
		for _, name := range programs {
			sources = append(sources, Source{Path: []string{"/etc/nova/" + name + ".conf", "/etc/" + name + ".conf"}})
		}
	}
	if !dirs {
		for _, name := range programs {
			sources = append(sources, Source{Path: []string{"/etc/nova/" + name + ".conf.d", "/etc/" + name + ".conf.d"}, Dir: true})
		}
	}
	return append(sources, named...)
}

// programs are what oslo.config names default files after.
var programs = []string{"nova", "nova-compute"}

// Deployment is where a way of installing Nova keeps the configuration of nova-compute on the host.
type Deployment struct {
	Sources []Source
	// Marker is a file without which it is not this way; "" where the configuration itself shows it.
	Marker string
}

// Deployments are the common ways of installing Nova. Containers come first: a host that has them may have a package's
// untouched files besides.
func Deployments() []Deployment {
	file := func(path string) Source { return Source{Path: []string{path}} }
	dir := func(path string) Source { return Source{Path: []string{path}, Dir: true} }
	const tripleO = "/var/lib/config-data/puppet-generated/nova_libvirt/etc/nova/"
	return []Deployment{
		// RHOSO (edpm_nova), which copies these to nova.conf.d in the container.
		{Sources: []Source{dir("/var/lib/openstack/config/nova")}},
		{Sources: []Source{file(tripleO + "nova.conf"), file(tripleO + "nova-compute.conf"), dir(tripleO + "nova.conf.d"), dir(tripleO + "nova-compute.conf.d")}},
		// kolla-ansible, which copies this one alone.
		{Sources: []Source{file("/etc/kolla/nova-compute/nova.conf")}},
		// Debian and Ubuntu name both files, so that the directories come first.
		{Sources: []Source{dir("/etc/nova/nova.conf.d"), dir("/etc/nova/nova-compute.conf.d"), file("/etc/nova/nova.conf"), file("/etc/nova/nova-compute.conf")},
			Marker: "/etc/init.d/nova-compute"},
		// RDO, which names none.
		{Sources: Sources(nil)},
	}
}
