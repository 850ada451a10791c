#!/bin/sh
# libvirt in a container, as kolla-ansible runs nova_libvirt, on this machine: builds hugeguard's package and two root file
# systems of Debian 12, one for the host and one for the containers, and plays node.sh there. The host has mounts and
# processes of its own, but this machine's kernel, huge pages and control groups. Needs root, mmdebstrap, 128 MiB of huge
# pages, which are given back, and 1 GiB in ~/.cache/hugeguard for the file systems, which are kept.
set -eu
cd "$(dirname "$0")"
if [ "${1:-}" != inner ]; then
	[ "$(id -u)" -eq 0 ] || { echo "run.sh: needs root" >&2; exit 1; }
	cache=${XDG_CACHE_HOME:-$HOME/.cache}/hugeguard/containerbox
	mkdir -p "$cache"
	make_root() {
		[ -d "$cache/$1" ] && return
		echo "building the root file system $1"
		rm -rf "$cache/$1.new"
		mmdebstrap --quiet --variant=minbase --mode=root --format=directory --aptopt='APT::Install-Recommends "false"' \
			--include="$2" bookworm "$cache/$1.new" /etc/apt/sources.list.d/debian.sources
		mv "$cache/$1.new" "$cache/$1"
	}
	make_root host systemd,dbus,procps,iproute2,podman,crun,conmon,libvirt-clients,python3
	make_root nova libvirt-daemon-system,libvirt-daemon-driver-qemu,qemu-system-x86,libvirt-clients,procps,dbus
	pool=/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages
	before=$(cat $pool)
	work=$(mktemp -d)
	trap 'rm -rf "$work"; echo "$before" >$pool' EXIT
	trap 'exit 1' HUP INT TERM
	echo "building the package"
	FORMATS=deb VERSION=0.2.0~test ARCHES=amd64 ../../install/package/build.sh "$work/packages"
	timeout 20m flock "$pool" unshare --mount --pid --fork --kill-child "./${0##*/}" inner "$cache" "$work"
	exit
fi

cache=$2 work=$3
mount --make-rprivate /
mkdir "$work/mounts"
mount -t tmpfs tmpfs "$work/mounts"
# over mounts the root file system $2 so that what is played does not change it.
over() {
	mkdir "$work/mounts/$1" "$work/mounts/$1.upper" "$work/mounts/$1.work"
	mount -t overlay overlay -o "lowerdir=$cache/$2,upperdir=$work/mounts/$1.upper,workdir=$work/mounts/$1.work" "$work/mounts/$1"
}
over host host
over nova nova
over compute host
mkdir "$work/mounts/compute/etc/nova"
host=$work/mounts/host
mount -t proc proc "$host/proc"
mount --rbind /sys "$host/sys"
umount "$host/sys/fs/cgroup/unified" 2>/dev/null || : # crun takes no mixture of both versions
mount -t tmpfs tmpfs "$host/run"
mount --make-shared "$host/run"
mount -t tmpfs -o mode=0755 tmpfs "$host/dev"
for name in null zero full random urandom tty fuse; do
	[ ! -e /dev/$name ] || { : >"$host/dev/$name"; mount --bind /dev/$name "$host/dev/$name"; }
done
mkdir "$host/dev/pts" "$host/dev/shm" "$host/dev/mqueue" "$host/dev/hugepages"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$host/dev/pts"
mount -t mqueue mqueue "$host/dev/mqueue"
ln -s pts/ptmx "$host/dev/ptmx"
ln -s /proc/self/fd "$host/dev/fd"
ln -s /run/systemd/journal/dev-log "$host/dev/log"
mount -t tmpfs tmpfs "$host/dev/shm"
mount -t hugetlbfs hugetlbfs "$host/dev/hugepages"
mkdir -p "$host/var/lib/containers"
mount -t tmpfs tmpfs "$host/var/lib/containers" # podman's overlay does not lie on another
mkdir -p "$host/images/nova" "$host/images/compute" "$host/packages"
mount --bind "$work/mounts/nova" "$host/images/nova"
mount --bind "$work/mounts/compute" "$host/images/compute"
mount --bind "$work/packages" "$host/packages"
cp node.sh "$host/node.sh"
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 chroot "$host" /bin/bash /node.sh
