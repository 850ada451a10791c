package words

import (
	"encoding/json"
	"fmt"

	"hugeguard/guard"
)

// ReserveRHOSO is [Reserve] as the data plane of RHOSO takes it: a key of the ConfigMap with more configuration for its
// service nova. Keys are file names in nova.conf.d, which oslo.config reads in their order.
func ReserveRHOSO(reservations []guard.Reservation) []string {
	if reservations == nil {
		return nil
	}
	lines := []string{"apiVersion: v1", "kind: ConfigMap", "metadata:", "  name: nova-extra-config", "  namespace: openstack", "data:", "  99-nova-hugeguard.conf: |"}
	for _, line := range Reserve(reservations) {
		lines = append(lines, "    "+line)
	}
	return lines
}

// ReserveOpenStackAnsible is [Reserve] as openstack-ansible takes it: an override of nova.conf, in which an option with
// several values is a mapping of these to nothing (config_template).
func ReserveOpenStackAnsible(reservations []guard.Reservation) []string {
	if reservations == nil {
		return nil
	}
	lines := []string{"nova_nova_conf_overrides:", "  DEFAULT:", "    reserved_huge_pages:"}
	for _, r := range reservations {
		lines = append(lines, fmt.Sprintf("      ? %q", r))
	}
	return lines
}

// ReserveKubelet returns the same as reservedMemory of KubeletConfiguration.
func ReserveKubelet(reservations []guard.Reservation) []string {
	if reservations == nil {
		return nil
	}
	nodes, limits := []int{}, map[int][]string{}
	for _, r := range reservations {
		if limits[r.Node] == nil {
			nodes = append(nodes, r.Node)
		}
		limits[r.Node] = append(limits[r.Node], "    "+quantityOf(r.PageKiB, r.Count))
	}
	lines := []string{"apiVersion: kubelet.config.k8s.io/v1beta1", "kind: KubeletConfiguration", "reservedMemory:"}
	for _, node := range nodes {
		lines = append(append(lines, fmt.Sprintf("- numaNode: %d", node), "  limits:"), limits[node]...)
	}
	return lines
}

// ReserveJSON returns the same as a JSON array of objects with the keys node, page_kib and count.
func ReserveJSON(reservations []guard.Reservation) []string {
	type row struct {
		Node    int    `json:"node"`
		PageKiB uint64 `json:"page_kib"`
		Count   uint64 `json:"count"`
	}
	rows := []row{}
	for _, r := range reservations {
		rows = append(rows, row{r.Node, r.PageKiB, r.Count})
	}
	text, _ := json.Marshal(rows) // numbers alone
	return []string{string(text)}
}
