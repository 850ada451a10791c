#!/bin/bash
# What is played on the node: install/doc/rollout.md, "libvirt in a container". It ends at the first thing that is not so.
set -euo pipefail
step() { echo "== $*"; }
fail() { echo "FAIL: $*" >&2; exit 1; }
# says TEXT STATUS COMMAND... checks the exit status of a command and that it says a text.
says() {
	local text=$1 want=$2 status=0 said
	shift 2
	said=$("$@" 2>&1) || status=$?
	[[ $status == "$want" && $said == *"$text"* ]] || fail "$* ended with $status, want $want and \"$text\":"$'\n'"$said"
}
# settle COMMAND... waits until a command succeeds; the limit guards against a hang.
settle() {
	local end=$((SECONDS + 300))
	until "$@" >/dev/null 2>&1; do
		((SECONDS < end)) || fail "it never came to be: $*"
		sleep 0.2
	done
}
replace() { # as an editor or Ansible does
	printf '%b' "$1" >/etc/hugeguard.conf.new
	mv /etc/hugeguard.conf.new /etc/hugeguard.conf
}
V="virsh --quiet --connect qemu:///system"
define() {
	cat >/run/$1.xml <<X
<domain type='qemu'><name>$1</name><memory unit='KiB'>$(($2 * 2048))</memory>
<memoryBacking><hugepages><page size='2048' unit='KiB'/></hugepages></memoryBacking><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type></os><cpu mode='custom' match='exact' check='none'><model>qemu64</model></cpu>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator><controller type='usb' model='none'/><memballoon model='none'/></devices></domain>
X
	$V define /run/$1.xml
}
podman() { command podman --cgroup-manager=cgroupfs --runtime=crun "$@"; }
# libvirt starts nova_libvirt with more options, and waits for the daemon.
libvirt() {
	podman run --detach --name nova_libvirt --privileged --net=host --ipc=host --cgroupns=host --security-opt label=disable --ulimit host \
		-v /run:/run:shared -v /dev:/dev -v /sys/fs/cgroup:/sys/fs/cgroup -v /etc/libvirt/hooks:/etc/libvirt/hooks:ro \
		"$@" --rootfs /images/nova /usr/sbin/libvirtd >/dev/null
	settle $V list
}
package() { DEBIAN_FRONTEND=noninteractive dpkg --force-depends "$@" </dev/null; }

step "the host: a journal, the settings, and then the package, which asks nothing"
mkdir -p /run/systemd/journal /run/log/journal /run/dbus /run/lock
printf '[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=no\nRateLimitBurst=0\n' >/etc/systemd/journald.conf
[ -s /etc/machine-id ] || systemd-machine-id-setup >/dev/null 2>&1
/lib/systemd/systemd-journald &
settle test -S /run/systemd/journal/socket
replace 'mode = enforce\ndeadline = 1m\n'
says "hooks/qemu" 0 package -i /packages/hugeguard_*.deb
echo 64 >/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages

step "nova_libvirt has the host's processes, and of hugeguard its folder of hooks alone"
cat >/images/nova/etc/libvirt/qemu.conf <<'X'
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
remember_owner = 0
stdio_handler = "file"
X
printf 'unix_sock_group = "root"\nauth_unix_rw = "none"\nauth_unix_ro = "none"\n' >/images/nova/etc/libvirt/libvirtd.conf
libvirt --pid=host
says "which it refused" 0 hugeguard verify
says "hook: live" 0 hugeguard status

step "guests: one fits, one does not, and the refusal names who has the pages"
python3 -c '
import mmap, time
m = mmap.mmap(-1, 16 << 21, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000)
for i in range(16): m[i << 21] = 1
open("/run/held", "w").close()
time.sleep(1e6)' &
holder=$!
settle test -e /run/held
define fits 24
define toobig 40
$V start fits
says "needed" 1 $V start toobig
settle journalctl -q -t hugeguard HUGEGUARD_DOMAIN=toobig --grep "pid $holder"
says "guest fits" 0 journalctl -q -t hugeguard HUGEGUARD_DOMAIN=toobig -o cat
says "needed" 3 hugeguard check toobig
says "guest fits" 0 hugeguard status

step "nova-compute in a container of its own: its settings are found"
mkdir -p /run/nova.conf.d
printf '#!/usr/bin/python3\nimport time\ntime.sleep(1e6)\n' >/run/nova-compute
chmod 755 /run/nova-compute
printf '[DEFAULT]\nreserved_huge_pages = node:0,size:2048,count:4\n' >/run/nova.conf.d/nova.conf
podman run --detach --name nova_compute --pid=host --net=host --cgroupns=host --security-opt label=disable --ulimit host \
	-v /run/nova.conf.d:/etc/nova:ro -v /run/nova-compute:/usr/bin/nova-compute:ro \
	--rootfs /images/compute python3 /usr/bin/nova-compute --config-file /etc/nova/nova.conf >/dev/null
says "reserves 4" 0 hugeguard status
podman rm --force --time 1 nova_compute >/dev/null

step "the settings reach the hook when they are replaced: mode = off, warn, enforce"
replace 'mode = off\n'
says "" 1 $V start toobig
[[ $($V start toobig 2>&1) != *"Hook script"* ]] || fail "the hook refuses with mode = off"
says "mode = off" 4 hugeguard verify
replace 'mode = warn\ndeadline = 1m\n'
says "mode = warn" 0 hugeguard verify
replace 'mode = enforce\ndeadline = 1m\n'
says "Hook script" 1 $V start toobig

step "removed and installed again: the folder that the container has stays, and the hook is live there"
package -r hugeguard >/dev/null 2>&1
[ -d /etc/libvirt/hooks ] || fail "the folder of hooks is gone"
package -i /packages/hugeguard_*.deb >/dev/null 2>&1
says "which it refused" 0 hugeguard verify

step "with libvirt's socket out of reach check finds the container's definitions"
mount -t tmpfs none /run/libvirt
says "needed" 3 hugeguard check toobig
umount /run/libvirt

step "without the host's processes: the daemon is found, and settings that differ are named"
$V destroy fits
podman rm --force --time 1 nova_libvirt >/dev/null
libvirt -v /etc/hugeguard.conf:/etc/hugeguard.conf:ro
says "which it refused" 0 hugeguard verify
says "hook: live" 0 hugeguard status
replace 'mode = off\n'
says "mode = enforce, not off" 0 hugeguard status
podman rm --force --time 1 nova_libvirt >/dev/null
kill $holder
echo "all that was played came out as it is documented"
