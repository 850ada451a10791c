package words

import (
	"fmt"
	"strings"

	"hugeguard/guard"
	"hugeguard/guard/fix"
)

// reserveInNova says how Nova learns what others hold. Nova keeps no list of what its own instances leave: it takes the
// lines when it starts.
func reserveInNova(r fix.ReserveInNova) Fix {
	then := "; then start the instance again" + whereNovaPlaces(r.Strangers)
	if r.Full {
		then = "; then start the instance again. No node of this host has room for it, so Nova places it on another host, or finds none: to start it here, do one of the others, too"
	}
	f := Fix{For: "nova", What: NovaEdit(r.Nova) + then,
		Lines: Reserve(r.Reservations), Cost: "restarting nova-compute stops no instance"}
	if r.Nova != nil {
		f.Lasting = deployed(r.Nova.Files)
	}
	return f
}

// whereNovaPlaces says where Nova places an instance once it knows what it is to reserve.
func whereNovaPlaces(strangers []guard.Stranger) string {
	if len(strangers) == 0 {
		return ", and Nova places it where it fits"
	}
	s := strangers[0]
	them, who := "it", fmt.Sprintf("the %s of guest %s", pagesOf(s.Pages, s.PageKiB), name(s.Name))
	if more := len(strangers) - 1; more > 0 {
		them, who = "them", fmt.Sprintf("%s and those of %d more", who, more)
	}
	return fmt.Sprintf(". Nova may place it where it does not fit again, as it does not count %s, which it did not make: shut %s down, or have Nova manage %s", who, them, them)
}

func restartNova(r fix.RestartNova) Fix {
	f := onHost("restart nova-compute, which then reads its configuration again", "systemctl restart "+ShellWord(r.Unit))
	f.For, f.Cost = "nova", "stops no instance"
	return f
}

// deployed says where files of a deployment come from, which writes them again.
func deployed(files []string) []string {
	for _, tool := range []struct{ dir, set string }{
		{"/var/lib/config-data/", "TripleO writes this file again: set NovaReservedHugePages there, too (hugeguard reserve --format tripleo)"},
		{"/var/lib/openstack/config/", "RHOSO writes this file again: put the lines into the ConfigMap nova-extra-config, too (hugeguard reserve --format rhoso)"},
		{"/etc/kolla/", "kolla-ansible writes this file again: put the lines into /etc/kolla/config/nova/HOST/nova.conf of the deploying host, too"},
	} {
		for _, file := range files {
			if strings.HasPrefix(file, tool.dir) {
				return []string{tool.set}
			}
		}
	}
	return nil
}
