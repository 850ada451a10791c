// Package prometheus proves by Prometheus's own tools what is shipped for it:
// what "hugeguard metrics" prints, the alert rules by what makes each fire
// (rules_test.yml), and the expressions of the dashboard; and by systemd's the
// units that write the file. It needs Debian's prometheus and systemd:
//
//	go test -count=1 ./testdata/prometheus
package prometheus
