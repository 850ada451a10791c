#!/bin/sh
# Installs nova-compute into the root file system $1. It wants a package of one hypervisor, and the one for QEMU wants
# that of every architecture, a gigabyte. So an empty package stands for it.
set -eu
root=$1
stand=$(mktemp -d)
mkdir "$stand/DEBIAN"
cat >"$stand/DEBIAN/control" <<C
Package: novabox-hypervisor
Version: 1
Architecture: all
Maintainer: hugeguard
Provides: nova-compute-hypervisor
Description: stands for nova-compute-qemu
C
dpkg-deb -b "$stand" "$root/root/hypervisor.deb" >/dev/null
rm -r "$stand"
DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get -y -q --no-install-recommends install /root/hypervisor.deb nova-compute
rm "$root/root/hypervisor.deb"
