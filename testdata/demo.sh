#!/bin/sh
# Plays the incident on a host that was captured just before it: what virsh and journalctl show with the guard, and the
# same guest bound to the other node.
set -u
cd "$(dirname "$0")/.."
host=testdata/hosts/incident/host

# check judges a guest on the captured host, as the hook does.
check() {
	bin/hugeguard check --root $host "$1"
}

cat <<'TEXT'
A compute node with two NUMA nodes, 1024 huge pages of 2 MiB each. Open vSwitch with DPDK was told
dpdk-socket-mem="1024,1024". An instance of 1 GiB runs on node 0. Nova sends another there:

$ virsh start instance-0000000c
error: Failed to start domain 'instance-0000000c'
TEXT
text=$(check testdata/hosts/incident/prepare.xml)
status=$?
line="$(printf '%s\n' "$text" | head -n 1); more: hugeguard explain instance-0000000c"
printf 'error: Hook script execution failed: internal error: Child process (... /etc/libvirt/hooks/qemu\ninstance-0000000c prepare begin -) unexpected exit status 1: %s\n' "$line"
printf '\n$ journalctl -t hugeguard -o cat\n%s\n%s\n' "$line" "$(printf '%s\n' "$text" | tail -n +2)"
[ $status -eq 3 ] || { echo "the guest should have been refused (status 3), status is $status" >&2; exit 1; }

printf '\nWithout the guard, QEMU says of a start like this one:\n\n'
sed -n 's/^[-0-9T:.]*Z \(qemu-system-x86_64: .*\)/\1/p' testdata/hosts/plain/qemu.log | tail -n 1

printf '\nThe same guest, bound to node 1:\n\n$ hugeguard check instance-0000000c.xml\n'
check testdata/hosts/incident/prepare-on-node1.xml ||
	{ echo "the guest should have been accepted" >&2; exit 1; }
