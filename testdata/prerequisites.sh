#!/bin/sh
# Installs the Debian packages that the tests need and this machine lacks. If it may not, it names them.
set -eu
wanted="gcc libc6-dev libvirt0 libvirt-clients libvirt-daemon-system qemu-system-x86 openvswitch-switch-dpdk postgresql systemd dbus-daemon
	python3 python3-nova ansible-core jq psmisc prometheus prometheus-node-exporter gcc-aarch64-linux-gnu libc6-dev-arm64-cross lintian debhelper rpm rpmlint cpio man-db mandoc
	mmdebstrap e2fsprogs debian-archive-keyring
	dpkg-dev meson ninja-build pkg-config python3-docutils xsltproc libxml2-utils libglib2.0-dev libgnutls28-dev libnuma-dev libtirpc-dev libxml2-dev libyajl-dev"
missing=
for package in $wanted; do
	dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
	echo "the tests need Debian packages that only root can install:$missing" >&2
	exit 1
fi
# The tests start their own daemons. The packages' daemons must not start on this machine (invoke-rc.d(8)).
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	trap 'rm -f $policy' EXIT
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod +x $policy
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends $missing >/dev/null
