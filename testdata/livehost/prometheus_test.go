package livehost

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	prometheus   = "/usr/bin/prometheus"
	promtool     = "/usr/bin/promtool"
	nodeExporter = "/usr/bin/prometheus-node-exporter"
)

// monitoring is a Prometheus that scrapes a node_exporter with the textfile collector.
type monitoring struct {
	*scene
	file    string // that hugeguard writes and the collector reads
	address string // of Prometheus
}

// monitor runs both, on loopback, with the shipped rules in force. Only their patience is shorter here: each "for"
// is a second.
func (s *scene) monitor() *monitoring {
	s.t.Helper()
	s.must(loopbackUp())
	m := &monitoring{scene: s, file: s.path("textfile/hugeguard.prom"), address: s.freeAddress()}
	exporter := s.freeAddress()
	rules, err := os.ReadFile("../../install/shipped/prometheus/hugeguard.rules.yml")
	s.must(err)
	rules = regexp.MustCompile(`(?m)^( +for:) \w+$`).ReplaceAll(rules, []byte("$1 1s"))
	s.must(os.MkdirAll(filepath.Dir(m.file), 0o755))
	s.must(os.WriteFile(s.path("rules.yml"), rules, 0o644))
	s.must(os.WriteFile(s.path("prometheus.yml"), []byte(fmt.Sprintf(`global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [rules.yml]
scrape_configs: [{job_name: node, static_configs: [{targets: ["%s"]}]}]
`, exporter)), 0o644))
	for name, argv := range map[string][]string{
		"node_exporter": {nodeExporter, "--web.listen-address=" + exporter, "--collector.disable-defaults", "--collector.textfile",
			"--collector.textfile.directory=" + filepath.Dir(m.file)},
		"prometheus": {prometheus, "--web.listen-address=" + m.address, "--config.file=" + s.path("prometheus.yml"), "--storage.tsdb.path=" + s.path("tsdb")},
	} {
		d, err := s.host.start(name, argv...)
		s.must(err)
		s.t.Cleanup(func() { s.check(d.stop()) })
	}
	return m
}

// loopbackUp gives the private host its loopback device.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

// freeAddress is one on loopback that nobody listens at; the network is the private host's own.
func (s *scene) freeAddress() string {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	s.must(err)
	defer l.Close()
	return l.Addr().String()
}

// write has hugeguard write its metrics, as the timer does, and returns them.
func (m *monitoring) write() string {
	m.t.Helper()
	if out := m.command(m.cli, 0, "metrics", "--hook", m.hook, "--output", m.file); out != "" {
		m.t.Errorf("it prints %q", out)
	}
	text, err := os.ReadFile(m.file)
	m.must(err)
	return string(text)
}

// value is that of one sample.
func (m *monitoring) value(text, sample string) int {
	m.t.Helper()
	var n int
	_, rest, ok := strings.Cut("\n"+text, "\n"+sample+" ")
	if ok {
		_, err := fmt.Sscan(rest, &n)
		ok = err == nil
	}
	if !ok {
		m.t.Fatalf("there is no %s in\n%s", sample, text)
	}
	return n
}

// get asks Prometheus's API.
func (m *monitoring) get(path string, query url.Values, data any) error {
	client := http.Client{Timeout: patience}
	r, err := client.Get("http://" + m.address + path + "?" + query.Encode())
	if err != nil {
		return err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Status != "success" {
		return fmt.Errorf("%s %v: %s: %s (%v)", path, query, r.Status, answer.Error, err)
	}
	return nil
}

// query returns how many series an expression has now.
func (m *monitoring) query(expr string) (int, error) {
	var data struct{ Result []any }
	err := m.get("/api/v1/query", url.Values{"query": {expr}}, &data)
	return len(data.Result), err
}

type alert struct {
	State               string
	Labels, Annotations map[string]string
}

// firing returns the alert of a name, which has to fire before long.
func (m *monitoring) firing(name string) (a alert) {
	m.t.Helper()
	m.must(eventually(func() error {
		alerts, err := m.alerts()
		if err != nil {
			return err
		}
		i := slices.IndexFunc(alerts, func(a alert) bool { return a.Labels["alertname"] == name && a.State == "firing" })
		if i < 0 {
			return fmt.Errorf("%s does not fire, but %+v", name, alerts)
		}
		a = alerts[i]
		return nil
	}))
	return a
}

func (m *monitoring) alerts() ([]alert, error) {
	var data struct{ Alerts []alert }
	err := m.get("/api/v1/alerts", nil, &data)
	return data.Alerts, err
}

// silent waits until none of some alerts is pending or fires, by what was scraped since it was asked.
func (m *monitoring) silent(names ...string) {
	m.t.Helper()
	began := time.Now()
	m.must(eventually(func() error {
		// Two rounds later all has been scraped and judged.
		if n, err := m.query(fmt.Sprintf("timestamp(hugeguard_hook_live) > %d", began.Unix()+3)); err != nil || n != 1 {
			return fmt.Errorf("%d hosts were scraped since: %v", n, err)
		}
		alerts, err := m.alerts()
		if err != nil {
			return err
		}
		for _, a := range alerts {
			if slices.Contains(names, a.Labels["alertname"]) {
				return fmt.Errorf("%+v", a)
			}
		}
		return nil
	}))
}

// journalSend sends an entry to the journal as that user.
func (s *scene) journalSend(uid uint32, fields ...string) {
	s.t.Helper()
	cmd := exec.Command("logger", "--journald")
	cmd.Stdin = strings.NewReader(strings.Join(fields, "\n") + "\n")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("logger: %v: %s", err, out)
	}
}

// What Open vSwitch holds and Nova does not know of raises the alert, which names the fix, and the fix works.
func TestPrometheusSeesTheDrift(t *testing.T) {
	s := begin(t, 256)
	s.installGuard()
	const conf = "/etc/nova/nova.conf"
	s.must(os.MkdirAll(filepath.Dir(conf), 0o755))
	t.Cleanup(func() { os.RemoveAll(filepath.Dir(conf)) })
	s.must(os.WriteFile(conf, []byte("[DEFAULT]\n"), 0o640))
	d := domain{name: "squeezed", mib: 64, cells: 1}
	s.define(d)

	m := s.monitor()
	before := m.write()
	if out, err := run("/bin/sh", "-c", promtool+" check metrics <"+m.file); err != nil || out != "" {
		t.Errorf("promtool says %q, %v", out, err)
	}
	m.silent("HugeguardNovaDrift", "HugeguardNovaUncounted", "HugeguardNovaUnknown", "HugeguardRefusals", "HugeguardNotLive", "HugeguardUnaccounted",
		"HugeguardSurveyIncomplete", "HugeguardMetricsStale")

	ovs := s.ovsHolds(ovsVswitchd, 24)
	s.refused(d)
	text := m.write()
	const refusals, pool = `hugeguard_refusals_total{cause="ovs-reservation"}`, `node="0",page_kib="2048"`
	held := hugePagesOf(ovs.pid())
	for sample, want := range map[string]int{
		refusals: m.value(before, refusals) + 1,
		`hugeguard_refusals_total{cause="guests"}`:             m.value(before, `hugeguard_refusals_total{cause="guests"}`),
		"hugeguard_hook_live":                                  1,
		"hugeguard_survey_faults":                              0,
		"hugeguard_pool_pages{" + pool + "}":                   256,
		"hugeguard_pool_free_pages{" + pool + "}":              s.pool().free,
		"hugeguard_pool_held_pages{" + pool + `,kind="ovs"}`:   held,
		"hugeguard_pool_held_pages{" + pool + `,kind="guest"}`: 0,
		"hugeguard_pool_unaccounted_pages{" + pool + "}":       0,
		"hugeguard_nova_reserved_pages{" + pool + "}":          0,
		"hugeguard_nova_drift_pages{" + pool + "}":             held,
	} {
		if got := m.value(text, sample); got != want {
			t.Errorf("%s is %d, want %d", sample, got, want)
		}
	}
	unreserved := m.value(text, "hugeguard_nova_unreserved_pages{"+pool+"}")
	if want := fmt.Sprintf("count:%d\n", unreserved); unreserved < held || !strings.HasSuffix(s.command(s.cli, 0, "reserve"), want) {
		t.Errorf("%d pages are not reserved, of %d that are held; that is not what reserve says", unreserved, held)
	}
	drift := m.firing("HugeguardNovaDrift")
	if want := fmt.Sprintf("Nova does not know of %d huge pages in use on ", unreserved); !strings.HasPrefix(drift.Annotations["summary"], want) ||
		drift.Labels["node"] != "0" || drift.Labels["page_kib"] != "2048" || !strings.Contains(drift.Annotations["description"], `Run "hugeguard reserve" on `) {
		t.Errorf("the alert is %+v", drift)
	}
	if a := m.firing("HugeguardRefusals"); a.Labels["cause"] != "ovs-reservation" {
		t.Errorf("the alert is %+v", a)
	}
	m.dashboard()

	s.must(os.WriteFile(conf, []byte(s.command(s.cli, 0, "reserve")), 0o640))
	m.write()
	m.silent("HugeguardNovaDrift", "HugeguardNovaUncounted")
}

// dashboard asks Prometheus what each panel would show: those must not be empty that have to do with this host.
func (m *monitoring) dashboard() {
	m.t.Helper()
	text, err := os.ReadFile("../../install/shipped/grafana/hugeguard.json")
	m.must(err)
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	m.must(json.Unmarshal(text, &d))
	asked := 0
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			expr := strings.NewReplacer("$__rate_interval", "5m", "$__range", "6h", "$job", ".*", "$instance", ".*", "$node", ".*", "$page_kib", "2048").Replace(target.Expr)
			n, err := m.query(expr)
			m.check(err)
			empty := strings.Contains(expr, "would_refuse") || strings.Contains(expr, "hugeguard_nova_drift_pages")
			if (n == 0) != empty {
				m.t.Errorf("%s shows %d series of %s", p.Title, n, expr)
			}
			asked++
		}
	}
	if asked < 10 {
		m.t.Errorf("the dashboard asks for %d things", asked)
	}
}

// What was counted is never counted again and never lost, whatever becomes of the journal; and only what the hook
// wrote, about guests, counts.
func TestRefusalsAreCounted(t *testing.T) {
	s := begin(t, 16)
	s.installGuard()
	d := domain{name: "too large", mib: 64, cells: 1}
	s.define(d)
	m := &monitoring{scene: s, file: s.path("counted.prom")}
	const name = `hugeguard_refusals_total{cause="pool-too-small"}`
	count := m.value(m.write(), name)
	expect := func(when string, more int) {
		t.Helper()
		s.must(journalSync())
		count += more
		for range 2 {
			if got := m.value(m.write(), name); got != count {
				t.Errorf("%s: %d refusals, want %d", when, got, count)
				count = got
			}
			// What is only asked for is the same, and is not kept.
			if got := m.value(s.command(s.cli, 0, "metrics", "--hook", s.hook), name); got != count {
				t.Errorf("%s: %d refusals are printed, want %d", when, got, count)
			}
		}
	}
	s.refused(d)
	s.refused(d)
	expect("two starts", 2)

	fake := []string{"SYSLOG_IDENTIFIER=hugeguard", "PRIORITY=3", "HUGEGUARD_DECISION=refuse", "HUGEGUARD_CAUSE=pool-too-small", "MESSAGE=it is full"}
	s.journalSend(65534, fake...)
	s.journalSend(0, append(fake, "HUGEGUARD_CANARY=1")...)
	expect("what others write, and a canary", 0)
	s.journalSend(0, fake...)
	expect("what root writes", 1)

	forget := func() {
		t.Helper()
		for _, how := range []string{"--rotate", "--vacuum-size=1"} {
			_, err := run("journalctl", how)
			s.must(err)
		}
		entries, err := readJournal("SYSLOG_IDENTIFIER=hugeguard")
		s.must(err)
		if s.old = len(entries); s.old > 0 {
			t.Fatalf("the journal still has %d entries", s.old)
		}
	}
	forget()
	expect("a journal that forgot all", 0)
	s.refused(d)
	expect("a start after that", 1)
	s.refused(d)
	forget()
	s.old = 0
	s.refused(d)
	expect("one that was forgotten before it was counted, and one after", 1)
	_, err := run("journalctl", "--rotate")
	s.must(err)
	s.refused(d)
	expect("a start after the file was changed", 1)

	s.configure("mode = warn")
	s.start(d)
	expect("a start that is allowed", 0)
	if text := m.write(); m.value(text, `hugeguard_would_refuse_total{cause="pool-too-small"}`) == 0 {
		t.Errorf("it is not counted:\n%s", text)
	}
}

func journalSync() error {
	_, err := run("journalctl", "--sync")
	return err
}
