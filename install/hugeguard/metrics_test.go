package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hugeguard/guard"
	"hugeguard/hook/config"
	"hugeguard/install/counts"
	"hugeguard/install/place"
	"hugeguard/install/status"
	"hugeguard/sysfs/sysfstest"
	"hugeguard/testdata/golden"
)

// allMetrics is what the command prints of the incident's host, with Nova and with what a journal has.
func allMetrics(t *testing.T) string {
	t.Helper()
	h := sysfstest.Copy(t, "../../testdata/hosts/plain/host")
	h.Write("etc/nova/nova.conf", "[DEFAULT]\n")
	var out, errs bytes.Buffer
	if status := Run(context.Background(), []string{"metrics", "--root", h.Path("")}, nil, &out, &errs); status != 0 || errs.Len() > 0 {
		t.Fatalf("status %d: %s", status, &errs)
	}
	exposition{&out}.counts(counts.Counts{Refused: map[guard.Cause]uint64{guard.CauseGuests: 3}})
	return out.String()
}

// metric parses a sample: its name, its labels and its value.
var metric = regexp.MustCompile(`^([a-z_]+)(\{.*\})? ([0-9.-]+)$`)

// TestMetricsKept keeps what is exposed of a host on which no number is 0, and hardly two are the same.
func TestMetricsKept(t *testing.T) {
	unaccounted := uint64(4)
	holders := func(first uint64) (list []guard.HolderReport) {
		for i, kind := range []guard.HolderKind{guard.HolderOVS, guard.HolderGuest, guard.HolderProcess, guard.HolderFile} {
			list = append(list, guard.HolderReport{Kind: kind, Pages: first + uint64(i)})
		}
		return list
	}
	report := status.Report{
		Hook:       place.State{Live: true, Placed: true, Denied: "SELinux", HooksAfter: make([]place.OtherHook, 2)},
		Mode:       config.WarnOnly,
		Settings:   status.Settings{Wrong: make([]string, 3)},
		Pools:      []guard.PoolReport{{Node: 1, PageKiB: 2048, Total: 100, Free: 36, Surplus: 5, Claimed: 6, Holders: holders(13), Unaccounted: &unaccounted}},
		Sizes:      []guard.SizeReport{{PageKiB: 2048, Reserved: 7, Unplaced: []guard.HolderReport{{Pages: 3}, {Pages: 1}}}},
		Unreadable: 8,
		Cut:        true,
		Nova: &guard.NovaReport{Files: []string{"/etc/nova/nova.conf"}, Stale: "/etc/nova/nova.conf",
			Pools: []guard.NovaPool{{Node: 1, PageKiB: 2048, Reserved: 21, Instances: 22, Free: new(int64(23)), Drift: new(int64(-24)), Unreserved: 25}}},
		Faults: make([]string, 9),
	}
	counted := counts.Counts{Refused: map[guard.Cause]uint64{}, Would: map[guard.Cause]uint64{}, Warned: 31, Faults: 32}
	for i, cause := range append(guard.Causes(), counts.Other) {
		counted.Refused[cause], counted.Would[cause] = 100+uint64(i), 200+uint64(i)
	}
	var out bytes.Buffer
	exposition{&out}.status(report, time.UnixMilli(1_234_567))
	exposition{&out}.counts(counted)
	golden.Compare(t, "../../testdata/golden/metrics.txt", strings.Replace(out.String(), fmt.Sprintf("version=%q", version()), `version="VERSION"`, 1))
	says := map[string]bool{}
	for _, line := range strings.Split(out.String(), "\n") {
		if m := metric.FindStringSubmatch(line); m != nil {
			says[m[1]] = says[m[1]] || m[3] != "0"
		}
	}
	for name, something := range says {
		if !something {
			t.Errorf("%s is 0: the host here should have some", name)
		}
	}
}

// The pages of each node add up, and every name is explained before its samples.
func TestMetricsAddUp(t *testing.T) {
	sums, known := map[string]float64{}, ""
	samples := map[string]bool{}
	for _, line := range strings.Split(strings.TrimSpace(allMetrics(t)), "\n") {
		if strings.HasPrefix(line, "#") {
			known = strings.Fields(line)[2]
			continue
		}
		m := metric.FindStringSubmatch(line)
		if m == nil || m[1] != known || samples[m[1]+m[2]] {
			t.Fatalf("%q after the words on %s", line, known)
		}
		samples[m[1]+m[2]] = true
		value, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			t.Fatal(err)
		}
		labels := strings.Split(m[2], ",kind=")[0]
		labels = strings.TrimSuffix(labels, "}")
		switch m[1] {
		case "hugeguard_pool_pages":
			sums[labels] += value
		case "hugeguard_pool_free_pages", "hugeguard_pool_held_pages", "hugeguard_pool_unaccounted_pages":
			sums[labels] -= value
		}
	}
	if len(sums) != 4 {
		t.Errorf("%d pools: %v", len(sums), sums)
	}
	for pool, rest := range sums {
		if rest != 0 {
			t.Errorf("%v pages of %s are with nobody, not free and not unaccounted", rest, pool)
		}
	}
	for _, cause := range append(guard.Causes(), counts.Other) {
		for _, name := range []string{"hugeguard_refusals_total", "hugeguard_would_refuse_total"} {
			if !samples[fmt.Sprintf("%s{cause=%q}", name, cause)] {
				t.Errorf("no %s of %s", name, cause)
			}
		}
	}
}

// What is shipped for Prometheus and Grafana speaks of metrics that there are, with labels that they have. Of those
// that there are the page about them leaves none out, and little is for readers alone.
func TestMetricsAreUsed(t *testing.T) {
	printed := map[string]string{} // the labels of each name
	kept, err := os.ReadFile("../../testdata/golden/metrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(allMetrics(t)+string(kept), "\n") {
		if m := metric.FindStringSubmatch(line); m != nil {
			printed[m[1]] += m[2]
		}
	}
	used := map[string]bool{}
	selector := regexp.MustCompile(`\b(hugeguard_[a-z_]+)(?:\{([^}]*)\})?`)
	label := regexp.MustCompile(`([a-z_]+)=~?\\?"([^"\\]*)`)
	for _, file := range []string{"../shipped/prometheus/hugeguard.rules.yml", "../shipped/grafana/hugeguard.json"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range selector.FindAllStringSubmatch(string(text), -1) {
			name, labels := m[1], m[2]
			used[name] = true
			if _, ok := printed[name]; !ok {
				t.Errorf("%s: there is no %s", file, name)
			}
			for _, l := range label.FindAllStringSubmatch(labels, -1) {
				if l[1] == "job" || l[1] == "instance" { // Prometheus's own
					continue
				}
				value := l[2]
				if strings.HasPrefix(value, "$") {
					value = "" // any
				}
				for _, v := range strings.Split(value, "|") {
					if !strings.Contains(printed[name], l[1]+`="`+v) {
						t.Errorf("%s: %s has no %s=%q: %s", file, name, l[1], v, printed[name])
					}
				}
			}
		}
	}
	page, err := os.ReadFile("../doc/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("`(hugeguard_[a-z_]+)`").FindAllStringSubmatch(string(page), -1) {
		if _, ok := printed[m[1]]; !ok {
			t.Errorf("the page has %s", m[1])
		}
	}
	if !strings.Contains(string(page), "`_bytes`") {
		t.Error("the page does not say that there are bytes beside pages")
	}
	for name := range printed {
		inPages, isBytes := strings.CutSuffix(name, "_bytes")
		if _, twin := printed[inPages+"_pages"]; isBytes && twin {
			delete(printed, name) // what is said of pages holds for it
		} else if isBytes {
			t.Errorf("there are no pages beside %s", name)
		}
	}
	for name := range printed {
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("the page lacks %s", name)
		}
	}
	// These are for those who look for a reason.
	for _, unused := range []string{"hugeguard_pool_surplus_pages", "hugeguard_promised_pages", "hugeguard_nova_instance_pages", "hugeguard_nova_believed_free_pages"} {
		used[unused] = true
	}
	for name := range printed {
		if !used[name] {
			t.Errorf("no alert and no panel uses %s", name)
		}
	}
}

// Every alert leads to a section of a page that the packages install.
func TestRunbooks(t *testing.T) {
	rules, err := os.ReadFile("../shipped/prometheus/hugeguard.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	alerts := regexp.MustCompile(`(?m)^ *- alert: (\w+)$`).FindAllStringSubmatch(string(rules), -1)
	urls := regexp.MustCompile(`(?m)^ *runbook_url: file:///usr/share/doc/hugeguard/(\S+)#(\S+)$`).FindAllStringSubmatch(string(rules), -1)
	if len(alerts) < 10 || len(urls) != len(alerts) {
		t.Fatalf("%d alerts have %d addresses", len(alerts), len(urls))
	}
	for i, alert := range alerts {
		page, err := os.ReadFile("../doc/" + urls[i][1])
		if err != nil || urls[i][2] != strings.ToLower(alert[1]) || !strings.Contains(string(page), "\n## "+alert[1]+"\n") {
			t.Errorf("%s leads to %s: %v", alert[1], urls[i][0], err)
		}
	}
}

// The dashboard is one that Grafana can show: panels have numbers of their own and do not lie upon one another.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("../shipped/grafana/hugeguard.json")
	if err != nil {
		t.Fatal(err)
	}
	type source struct{ Type, UID string }
	var d struct {
		UID, Title    string
		SchemaVersion int
		Templating    struct {
			List []struct {
				Name, Type string
				Datasource source
			}
		}
		Panels []struct {
			ID                       int
			Type, Title, Description string
			Datasource               source
			Repeat                   string
			GridPos                  struct{ X, Y, W, H int }
			Targets                  []struct {
				RefID, Expr string
				Datasource  source
			}
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if d.UID == "" || d.Title == "" || d.SchemaVersion == 0 || len(d.Panels) < 8 {
		t.Errorf("%+v", d)
	}
	prometheus := source{"prometheus", "${datasource}"}
	variables := []string{"__rate_interval", "__range"} // Grafana's own
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name)
		if v.Type == "query" && v.Datasource != prometheus {
			t.Errorf("variable %s: %+v", v.Name, v.Datasource)
		}
	}
	if !slices.Contains(variables, "datasource") {
		t.Errorf("the variables are %q", variables)
	}
	for _, m := range regexp.MustCompile(`\$\{?(\w+)`).FindAllStringSubmatch(string(text), -1) {
		if !slices.Contains(append(variables, "__all"), m[1]) {
			t.Errorf("no variable %s", m[1])
		}
	}
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if p.ID <= 0 || ids[p.ID] || p.Title == "" || p.Description == "" || p.Type == "" || p.Datasource != prometheus || len(p.Targets) == 0 {
			t.Errorf("panel %+v", p)
		}
		ids[p.ID] = true
		if p.Repeat != "" && !slices.Contains(variables, p.Repeat) {
			t.Errorf("%s is repeated for each %s", p.Title, p.Repeat)
		}
		if g := p.GridPos; g.X < 0 || g.W <= 0 || g.H <= 0 || g.X+g.W > 24 {
			t.Errorf("%s lies at %+v", p.Title, g)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" {
					t.Fatalf("%s lies upon %s", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		refs := map[string]bool{}
		for _, target := range p.Targets {
			if target.RefID == "" || refs[target.RefID] || target.Expr == "" || target.Datasource != prometheus {
				t.Errorf("%s: %+v", p.Title, target)
			}
			refs[target.RefID] = true
		}
	}
}
