package main

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
)

// What Nova 26.2 has in compute_nodes.numa_topology, of two cells, without what is not read.
const topology = `{"nova_object.name": "NUMATopology", "nova_object.namespace": "nova", "nova_object.version": "1.2", "nova_object.data": {"cells": [
{"nova_object.name": "NUMACell", "nova_object.data": {"id": 0, "memory": 2250, "mempages": [
 {"nova_object.name": "NUMAPagesTopology", "nova_object.data": {"size_kb": 4, "total": 300000, "used": 0, "reserved": 0}},
 {"nova_object.name": "NUMAPagesTopology", "nova_object.data": {"size_kb": 2048, "total": 512, "used": 256, "reserved": 256}}]}},
{"nova_object.name": "NUMACell", "nova_object.data": {"id": 1, "memory": 2250, "mempages": [
 {"nova_object.name": "NUMAPagesTopology", "nova_object.data": {"size_kb": 2048, "total": 512, "used": 0}}]}}]}}`

// TestNumbers: the numbers of both sides are read alike.
func TestNumbers(t *testing.T) {
	want := map[int]count{0: {512, 256, 256}, 1: {512, 0, 0}}
	got, err := parseTopology(topology)
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("Nova's topology is read as %v, %v, want %v", got, err, want)
	}
	if _, err := parseTopology("NULL"); err == nil || !strings.Contains(err.Error(), `"NULL"`) {
		t.Errorf("the error does not say what was there: %v", err)
	}
	var s status
	err = json.Unmarshal([]byte(`{"pools": [{"node": 0, "page_kib": 2048, "total": 512, "free": 0}, {"node": 1, "page_kib": 2048, "total": 512, "free": 256}],
		"nova": {"pools": [{"node": 0, "page_kib": 2048, "reserved": 256, "instances": 256, "free": 0, "drift": 0},
		{"node": 1, "page_kib": 2048, "reserved": 0, "instances": 0, "free": 512, "drift": 256}]}}`), &s)
	if err != nil || !maps.Equal(s.believed(), want) {
		t.Errorf("hugeguard's numbers are read as %v, %v, want %v", s.believed(), err, want)
	}
}
