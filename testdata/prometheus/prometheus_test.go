package prometheus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"hugeguard/sysfs/sysfstest"
	"hugeguard/testdata/machine"
)

const (
	rules     = "../../install/shipped/prometheus/hugeguard.rules.yml"
	dashboard = "../../install/shipped/grafana/hugeguard.json"
)

func TestMain(m *testing.M) { os.Exit(machine.Apart(m.Run)) }

// tool runs a program, which has to succeed, and returns all that it prints.
func tool(t *testing.T, stdin []byte, argv ...string) string {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v (make prerequisites installs prometheus and systemd)\n%s", argv, err, out)
	}
	return string(out)
}

// hugeguard builds the admin's command.
func hugeguard(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "hugeguard")
	tool(t, nil, "go", "build", "-buildvcs=false", "-o", program, "../../install/hugeguard")
	return program
}

// TestMetrics: promtool finds no fault with what the command prints of a host with Nova, nor of this machine,
// whose journal is counted.
func TestMetrics(t *testing.T) {
	h := sysfstest.Copy(t, "../hosts/plain/host")
	h.Write("etc/nova/nova.conf", "[DEFAULT]\nreserved_huge_pages = node:0,size:2048,count:100\n")
	program := hugeguard(t)
	for _, args := range [][]string{{"--root", h.Path("")}, nil} {
		cmd := exec.Command(program, append([]string{"metrics"}, args...)...)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %v", cmd.Args, err)
		}
		if said := tool(t, out, "promtool", "check", "metrics"); said != "" {
			t.Errorf("%v: %s", cmd.Args, said)
		}
	}
}

// TestRules: the rules are sound, and each alert fires and does not fire as it should.
func TestRules(t *testing.T) {
	tool(t, nil, "promtool", "check", "rules", rules)
	tool(t, nil, "promtool", "test", "rules", "rules_test.yml")
	text, err := os.ReadFile(rules)
	if err != nil {
		t.Fatal(err)
	}
	tested, err := os.ReadFile("rules_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	alerts := regexp.MustCompile(`(?m)^ *- alert: (\w+)$`).FindAllStringSubmatch(string(text), -1)
	if len(alerts) < 10 {
		t.Errorf("only %d alerts are seen", len(alerts))
	}
	for _, a := range alerts {
		if !strings.Contains(string(tested), `ALERTS{alertname="`+a[1]+`",alertstate="firing"`) {
			t.Errorf("nothing in rules_test.yml makes %s fire", a[1])
		}
	}
}

// TestDashboard: Prometheus can parse every expression of the dashboard, as rules of a file.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile(dashboard)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	exprs := map[string]string{}
	file, n := "groups:\n- name: dashboard\n  rules:\n", 0
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			expr := strings.NewReplacer("$__rate_interval", "5m", "$__range", "6h").Replace(target.Expr)
			exprs[p.Title] = expr
			file += fmt.Sprintf("  - {record: 'expr:%d', expr: %q}\n", n, expr)
			n++
		}
	}
	name := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(name, []byte(file), 0o644); err != nil {
		t.Fatal(err)
	}
	if said, want := tool(t, nil, "promtool", "check", "rules", name), fmt.Sprintf("SUCCESS: %d rules found", n); n < 10 || !strings.Contains(said, want) {
		t.Errorf("of %d expressions: %s", n, said)
	}

	// A host counts once, however many sizes its unexplained pages have.
	var series string
	for _, s := range [][3]string{{"a", "2048", "3"}, {"a", "1048576", "1"}, {"b", "2048", "2"}, {"c", "2048", "0"}} {
		labels := fmt.Sprintf(`job="node",instance="%s",page_kib="%s"`, s[0], s[1])
		series += fmt.Sprintf("  - {series: 'hugeguard_pool_unaccounted_pages{%s,node=\"0\"}', values: '%s'}\n", labels, s[2])
		series += fmt.Sprintf("  - {series: 'hugeguard_unplaced_pages{%s}', values: '0'}\n", labels)
	}
	count := strings.NewReplacer("$job", ".*", "$instance", ".*").Replace(exprs["Hosts with unexplained pages"])
	file = fmt.Sprintf("tests:\n- input_series:\n%s  promql_expr_test:\n  - {expr: %q, eval_time: 0s, exp_samples: [{value: 2}]}\n", series, count)
	if err := os.WriteFile(name, []byte(file), 0o644); err != nil {
		t.Fatal(err)
	}
	tool(t, nil, "promtool", "test", "rules", name)
}

// TestDashboardOfAFleet: with a thousand hosts no panel draws more than some lines. A table may have a row for each.
func TestDashboardOfAFleet(t *testing.T) {
	text, err := os.ReadFile(dashboard)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Type, Title string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	const hosts, most = 1000, 40
	var series, tests strings.Builder
	add := func(host int, name, labels, values string) {
		fmt.Fprintf(&series, "  - {series: 'hugeguard_%s{job=\"node\",instance=\"%d\"%s}', values: '%s'}\n", name, host, labels, values)
	}
	for host := range hosts {
		add(host, "hook_live", "", "0x10")
		add(host, "unplaced_pages", `,page_kib="2048"`, "0x10")
		for _, counter := range []string{"warnings_total", "faults_total"} {
			add(host, counter, "", "0+1x10")
		}
		for _, cause := range []string{"guests", "ovs-reservation"} {
			add(host, "refusals_total", `,cause="`+cause+`"`, "0+1x10")
			add(host, "would_refuse_total", `,cause="`+cause+`"`, "0+1x10")
		}
		const pool = `,page_kib="2048",node="0"`
		for _, name := range []string{"nova_reserved_pages", "nova_drift_pages", "pool_unaccounted_pages", "pool_free_pages"} {
			add(host, name, pool, "9x10")
		}
		// One line of a panel is for the hosts that the other is not for.
		add(host, "nova_unreserved_pages", pool, fmt.Sprintf("%dx10", host%2))
		for _, kind := range []string{"ovs", "guest", "process", "file"} {
			add(host, "pool_held_pages", pool+`,kind="`+kind+`"`, "9x10")
		}
	}
	chosen := strings.NewReplacer("$__rate_interval", "5m", "$__range", "10m", "$job", ".*", "$instance", ".*", "$page_kib", "2048", "$node", ".*")
	lines := 0
	for _, p := range d.Panels {
		if p.Type == "table" || p.Type == "stat" {
			continue
		}
		for _, target := range p.Targets {
			lines++
			expr := fmt.Sprintf("count(%s) <= bool %d", chosen.Replace(target.Expr), most) // nothing at all is no sample
			fmt.Fprintf(&tests, "  - {expr: %q, eval_time: 10m, exp_samples: [{value: 1}]} # %s\n", expr, p.Title)
		}
	}
	if lines < 10 {
		t.Errorf("only %d expressions draw lines", lines)
	}
	name := filepath.Join(t.TempDir(), "fleet.yml")
	file := "evaluation_interval: 1m\ntests:\n- interval: 1m\n  input_series:\n" + series.String() + "  promql_expr_test:\n" + tests.String()
	if err := os.WriteFile(name, []byte(file), 0o644); err != nil {
		t.Fatal(err)
	}
	tool(t, nil, "promtool", "test", "rules", name)
}

// TestUnits: systemd finds no fault with the units, and rates the service's confinement as good.
func TestUnits(t *testing.T) {
	program, dir := hugeguard(t), t.TempDir()
	var units []string
	for _, unit := range []string{"hugeguard-metrics.service", "hugeguard-metrics.timer", "hugeguard-reserve.service", "hugeguard-reserve.timer", "hugeguard-withdraw.service"} {
		data, err := os.ReadFile("../../install/shipped/systemd/" + unit)
		if err != nil {
			t.Fatal(err)
		}
		units = append(units, filepath.Join(dir, unit))
		data = bytes.ReplaceAll(data, []byte("=/usr/bin/hugeguard "), []byte("="+program+" ")) // which is not installed
		if err := os.WriteFile(units[len(units)-1], data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if said := tool(t, nil, append([]string{"systemd-analyze", "verify", "--man=no"}, units...)...); said != "" {
		t.Error(said)
	}
	// From 0 to 100, the less the better: 25 is "OK".
	tool(t, nil, "systemd-analyze", "security", "--offline=yes", "--threshold=25", "--no-pager", "../../install/shipped/systemd/hugeguard-metrics.service")
	// It writes to /etc, and gives files away: 50 is "MEDIUM".
	tool(t, nil, "systemd-analyze", "security", "--offline=yes", "--threshold=50", "--no-pager", "../../install/shipped/systemd/hugeguard-reserve.service")
}
