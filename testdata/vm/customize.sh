#!/bin/sh
# The last step of building the root file system $1: what packages leave to the admin.
set -eu
root=$1
chroot "$root" update-alternatives --set ovs-vswitchd /usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk
chroot "$root" passwd -q -d root
mkdir -p "$root/opt/numabox"
printf 'virtio_pci\nvirtio_blk\next4\n' >>"$root/etc/initramfs-tools/modules"
chroot "$root" update-initramfs -u
systemctl --root="$root" -q enable numabox-agent.service serial-getty@ttyS1.service
# Open vSwitch is started by those who want it.
systemctl --root="$root" -q disable openvswitch-switch.service 2>&1
# Each costs seconds at boot and nothing here needs it.
for unit in dpdk.service libvirt-guests.service e2scrub_reap.service getty@tty1.service \
	apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer; do
	systemctl --root="$root" -q mask "$unit"
done
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/doc/* "$root"/usr/share/locale/*
