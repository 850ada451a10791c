package shown

// Elsewhere is the commands that are shown and that neither a captured host nor the live host can run, each with where
// it is run, or why it is not.
var Elsewhere = map[string]string{
	"ansible-playbook -i inventory hugeguard.yml -e hugeguard_mode=warn":                                           "run on the live host, with its own inventory: TestPlaybook in testdata/livehost",
	"ansible-playbook -i inventory hugeguard.yml -e hugeguard_mode=enforce":                                        "the same",
	"ansible-playbook -i inventory hugeguard.yml -e hugeguard_state=absent":                                        "the same",
	"sudo apt install ./bin/packages/hugeguard_VERSION-1_amd64.deb":                                                "the version differs: testdata/package installs it with dpkg, and so does the two-node machine",
	"DEBIAN_FRONTEND=noninteractive apt-get install -y hugeguard":                                                  "the same, from a repository of packages that is not here",
	"systemctl enable --now hugeguard-metrics.timer":                                                               "takes a systemd: testdata/numabox/metrics.go has it start the units",
	"sudo hugeguard reserve --write --dry-run":                                                                     "changes a Nova's configuration: TestWrite in testdata/nova has Nova read what it writes",
	"sudo hugeguard reserve --write --restart":                                                                     "the same, and takes a nova-compute that systemd runs",
	"sudo hugeguard reserve --remove":                                                                              "the same",
	"systemctl enable --now hugeguard-reserve.timer":                                                               "takes a systemd: testdata/prometheus has it check the units",
	"journalctl -u hugeguard-reserve":                                                                              "the same",
	`openstack server show "$ID" -c status -c fault -c OS-EXT-SRV-ATTR:host`:                                       "takes an OpenStack, which no tier has",
	`grep "$ID" /var/log/nova/nova-conductor.log`:                                                                  "the same",
	`ansible -i inventory compute -b -m command -a "journalctl -t hugeguard HUGEGUARD_UUID=$ID -o cat --no-pager"`: "takes a fleet; journalctl itself is run on the live host",
	"kolla-ansible reconfigure -i inventory --tags nova-cell":                                                      "there is no such deployment here",
}
