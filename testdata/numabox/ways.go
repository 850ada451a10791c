package main

import (
	"fmt"
	"strings"
	"time"

	"hugeguard/testdata/vm"
	"hugeguard/testdata/vm/wire"
)

// A way is how the guest of a scenario comes in.
type way string

const (
	created  way = ""
	restored way = "restore" // from a file
	managed  way = "managed-save"
	migrated way = "migration" // from another host
)

const (
	saved = "/var/lib/libvirt/saved"
	// The other host is a second libvirtd, whose QEMUs take their pages from the same pools.
	neighbour = "qemu+unix:///system?socket=/run/neighbour"
	// Without control groups its QEMUs are in none of this host's, and end with it.
	neighbourScript = `umount -l /sys/fs/cgroup
mount -t tmpfs tmpfs /mnt
cp -r /etc/libvirt /mnt
for dir in /etc/libvirt /run/libvirt /var/lib/libvirt /var/log/libvirt; do mount -t tmpfs -o mode=0755 tmpfs $dir; done
mount -t hugetlbfs -o pagesize=2M hugetlbfs /dev/hugepages
mkdir -p /etc/libvirt/qemu /var/log/libvirt/qemu
echo 'stdio_handler = "file"' >/etc/libvirt/qemu.conf
{ cat /mnt/libvirt/libvirtd.conf; printf 'auth_unix_rw = "none"\nhost_uuid = "6a9c0000-0000-4000-8000-0000000000bb"\n'; } >/etc/libvirt/libvirtd.conf
echo neighbour >/proc/sys/kernel/hostname
exec libvirtd --pid-file /run/libvirt/neighbour.pid`
	migration = "/run/migration/socket" // through which a guest moves
)

// start is virsh's arguments that start the guest of a scenario.
func (s scenario) start() string {
	switch s.way {
	case restored:
		return "restore --paused " + saved
	case managed:
		return "start --paused " + s.name
	case migrated:
		return fmt.Sprintf("-c %s migrate %s qemu:///system --migrateuri unix://%s", neighbour, s.name, migration)
	}
	return "create --paused " + domainXML
}

// launch starts the guest of a scenario and destroys it.
func (b *box) launch(s scenario) (o outcome, words string, err error) {
	var r wire.Reply
	if s.way == migrated {
		r, err = b.Run("", "sh", "-c", fmt.Sprintf("virsh -q -k 0 %s && virsh -q destroy %s", s.start(), s.name))
	} else {
		r, err = b.Virsh(s.start() + "; destroy " + s.name)
	}
	if err != nil {
		return "", "", err
	}
	if r.Exit == 0 {
		return starts, "", nil
	}
	// virsh then destroys what it could not start.
	words = strings.TrimSpace(r.Stderr)
	for _, vain := range []string{"\nerror: failed to get domain", "\nerror: Failed to destroy domain"} {
		words, _, _ = strings.Cut(words, vain)
	}
	if strings.HasPrefix(words, "error: Failed to destroy domain") {
		return "", "", fmt.Errorf("virsh destroy: %s", words)
	}
	return classify(false, words), words, nil
}

// bring has the guest of a scenario where it comes from, and returns how many pages it holds of each node there.
func (b *box) bring(s scenario) (held [2]int, undo func() error, err error) {
	undo = func() error { return nil }
	if s.way == created {
		return held, undo, nil
	}
	if err := b.Write(wire.File{Path: domainXML, Data: s.guest.xml(s.name)}); err != nil {
		return held, undo, err
	}
	if s.way == migrated {
		undo = func() error { _, err := b.Sh("systemctl stop neighbour; rm -f /run/neighbour"); return err }
		if err := b.startNeighbour(); err != nil {
			return held, undo, err
		}
		held, err = b.depart(s)
		return held, undo, err
	}
	if err := b.SetPools(2048, plenty); err != nil {
		return held, undo, err
	}
	save := fmt.Sprintf("create --paused %s; save --paused %s %s", domainXML, s.name, saved)
	undo = func() error { _, err := b.Must("rm", saved); return err }
	if s.way == managed {
		save = fmt.Sprintf("define %s; start --paused %s; managedsave --paused %[2]s", domainXML, s.name)
		undo = func() error { _, err := b.Must("virsh", "-q", "undefine", "--managed-save", s.name); return err }
	}
	_, err = b.Must("virsh", "-q", save)
	return held, undo, err
}

// plenty is room for each guest that comes in.
var plenty = [2]int{100, 100}

func (b *box) startNeighbour() error {
	if err := b.Write(wire.File{Path: "/run/neighbour.sh", Data: neighbourScript}); err != nil {
		return err
	}
	_, err := b.Sh(`install -d -o libvirt-qemu ` + strings.TrimSuffix(migration, "/socket") + `
systemd-run -q --collect --unit neighbour --property KillMode=control-group unshare --mount --uts sh -euc '. /run/neighbour.sh'
ln -sfn /proc/$(systemctl show -p MainPID --value neighbour)/root/run/libvirt/libvirt-sock /run/neighbour
until [ "$(virsh -q -c '` + neighbour + `' hostname)" = neighbour ]; do systemctl -q is-active neighbour; sleep 1; done 2>&1`)
	return err
}

// depart starts the guest of a scenario on the other host, where there is room for it.
func (b *box) depart(s scenario) (held [2]int, err error) {
	if err := b.SetPools(2048, plenty); err != nil {
		return held, err
	}
	began := time.Now()
	for { // another guest's pages may not be back yet
		free, _, err := b.Pools(2048)
		if err != nil {
			return held, err
		}
		if free == plenty {
			break
		}
		if time.Since(began) > vm.Patience {
			return held, fmt.Errorf("of %v pages %v are free, and no guest runs", plenty, free)
		}
		time.Sleep(200 * time.Millisecond)
	}
	if _, err := b.Must("virsh", "-q", "-c", neighbour, "create", "--paused", domainXML); err != nil {
		return held, err
	}
	free, total, err := b.Pools(2048)
	for node := range held {
		held[node] = total[node] - free[node]
	}
	return held, err
}

// returns has a guest that was moved here and destroyed run on the other host again.
func (b *box) returns(s scenario) error {
	r, err := b.Run("", "virsh", "-q", "-c", neighbour, "domid", s.name)
	if err != nil || r.Exit == 0 {
		return err
	}
	held, err := b.depart(s)
	if err != nil {
		return err
	}
	return b.SetPools(2048, sum(s.pools, held))
}

func sum(a, b [2]int) [2]int { return [2]int{a[0] + b[0], a[1] + b[1]} }
