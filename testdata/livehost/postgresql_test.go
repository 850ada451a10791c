package livehost

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// postgresqlUnit is the unit that Debian runs PostgreSQL in.
const postgresqlUnit = "postgresql@15-main.service"

// postgresql is where Debian has its programs.
func postgresql(program string) string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + program)
	return strings.Join(found[max(0, len(found)-1):], "")
}

// makePostgreSQL has a PostgreSQL of its own in huge pages: so many MiB of shared buffers, and what else it shares.
func (s *scene) makePostgreSQL(mib int) {
	s.t.Helper()
	data := s.path("postgresql")
	for _, dir := range []string{data, "/run/postgresql"} {
		s.must(os.MkdirAll(dir, 0o700))
		_, err := run("chown", "postgres:", dir)
		s.must(err)
	}
	// As Debian's package util-linux has it.
	s.must(os.MkdirAll("/etc/pam.d", 0o755))
	s.must(os.WriteFile("/etc/pam.d/runuser", []byte("auth sufficient pam_rootok.so\naccount required pam_permit.so\nsession required pam_unix.so\n"), 0o644))
	s.t.Cleanup(func() {
		for _, dir := range []string{data, "/run/postgresql", "/etc/pam.d"} {
			s.check(os.RemoveAll(dir))
		}
	})
	_, err := run(slices.Concat(asPostgres, []string{postgresql("initdb"), "-D", data, "--auth=trust", "--no-sync"})...)
	s.must(err)
	settings := fmt.Sprintf("huge_pages = on\nshared_buffers = %dMB\nlisten_addresses = ''\nunix_socket_directories = '/run/postgresql'\n", mib)
	s.must(os.WriteFile(filepath.Join(data, "postgresql.conf"), []byte(settings), 0o644))
	unit := filepath.Join(cgroup2(s.t), postgresqlUnit)
	s.must(os.Mkdir(unit, 0o755))
	s.t.Cleanup(func() { s.check(eventually(func() error { return os.Remove(unit) })) })
	s.startPostgreSQL()
}

var asPostgres = []string{"setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"}

// startPostgreSQL starts it in its unit, and returns when it answers.
func (s *scene) startPostgreSQL() {
	s.t.Helper()
	script := fmt.Sprintf(`echo $$ >%s && exec "$@"`, filepath.Join(cgroup2(s.t), postgresqlUnit, "cgroup.procs"))
	d, err := s.host.start("postgresql", slices.Concat([]string{"sh", "-c", script, "sh"}, asPostgres, []string{postgresql("postgres"), "-D", s.path("postgresql")})...)
	s.must(err)
	s.t.Cleanup(func() {
		d.cmd.Process.Signal(syscall.SIGINT)
		<-d.done
	})
	s.must(eventually(func() error {
		if !d.running() {
			return stop{fmt.Errorf("PostgreSQL ended: %v", d.cmd.ProcessState)}
		}
		_, err := run("psql", "-U", "postgres", "-h", "/run/postgresql", "-c", "SELECT 1")
		return err
	}))
}
