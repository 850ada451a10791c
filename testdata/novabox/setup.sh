#!/bin/sh
# Sets Nova up in the root file system $1: on the compute node what nova-compute-qemu does there, and the databases of
# the control services.
set -eu
root=$1
chroot "$root" usermod -aG libvirt,kvm nova
printf '[DEFAULT]\ncompute_driver = libvirt.LibvirtDriver\n[libvirt]\nvirt_type = qemu\n' >"$root/etc/nova/nova-compute.conf"
# libvirt is to ask QEMU for all features of a guest's CPU at once, not for each of 400 alone.
echo 'capability_filters = ["cpu-unavailable-features"]' >>"$root/etc/libvirt/qemu.conf"
# The control services run beside the compute node. Nova's own is started when its pools are as they should be.
for unit in mariadb rabbitmq-server epmd keystone glance-api placement-api nova-api nova-api-metadata nova-conductor nova-scheduler \
	nova-novncproxy nova-spicehtml5proxy nova-serialproxy iscsid open-iscsi; do
	systemctl --root="$root" -q mask "$unit.service"
done
systemctl --root="$root" -q mask epmd.socket iscsid.socket
systemctl --root="$root" -q disable nova-compute.service
systemctl --root="$root" -q enable systemd-networkd.service
systemctl --root="$root" -q mask systemd-networkd-wait-online.service

unshare --fork --pid --kill-child --net chroot "$root" sh -eux <<'C'
mkdir -p /run/mysqld /run/lock /var/lock/nova
chown mysql: /run/mysqld
mariadbd --user=mysql </dev/null &
until mysqladmin -uroot ping; do kill -0 $!; sleep .5; done
for name in keystone placement glance nova nova_api nova_cell0; do echo "create database $name;"; done | mysql -uroot
echo "alter user root@localhost identified via mysql_native_password using password('')" | mysql -uroot
keystone-manage db_sync
keystone-manage fernet_setup --keystone-user root --keystone-group root
keystone-manage credential_setup --keystone-user root --keystone-group root
url=http://controller:5000/v3
keystone-manage bootstrap --bootstrap-password secret --bootstrap-region-id RegionOne \
	--bootstrap-admin-url $url --bootstrap-internal-url $url --bootstrap-public-url $url
placement-manage db sync
glance-manage db_sync
nova-manage api_db sync
nova-manage cell_v2 map_cell0 --database_connection 'mysql+pymysql://root:@localhost/nova_cell0?unix_socket=/run/mysqld/mysqld.sock'
nova-manage cell_v2 create_cell --name cell1
nova-manage db sync
mysqladmin -uroot shutdown
wait
rm -rf /run/mysqld
C
