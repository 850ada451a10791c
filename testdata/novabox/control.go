package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hugeguard/testdata/machine"
	"hugeguard/testdata/vm"
)

// A control is the control services: processes below a root file system of their own, which is an overlay of the
// image's. This process is the first of the namespaces that all of it lives in.
type control struct {
	ctx  context.Context
	root string
	logs string // where goes what the services print
	pids string // has a file for each service, with its process group

	sync.Mutex
	services map[string]*exec.Cmd
	ended    []string // services that ended by themselves
}

// controllerAddress is what the compute node calls the loopback here.
const controllerAddress = "10.0.2.2"

// newControl is what a run has in a directory.
func newControl(ctx context.Context, dir string) *control {
	return &control{ctx: ctx, root: filepath.Join(dir, "control"), logs: filepath.Join(dir, "logs"), pids: filepath.Join(dir, "pids"),
		services: map[string]*exec.Cmd{}}
}

// mount mounts the root file system and brings the network up, which is a loopback.
func (c *control) mount(dir string, image *vm.Image) error {
	lower, upper, work := filepath.Join(dir, "lower"), filepath.Join(dir, "upper"), filepath.Join(dir, "work")
	for _, name := range []string{c.root, c.logs, c.pids, lower, upper, work} {
		if err := os.Mkdir(name, 0o755); err != nil {
			return err
		}
	}
	if err := machine.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := machine.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	// The loop device goes with its mount, and that with the namespace.
	if text, err := exec.Command("mount", "-o", "loop,ro", image.Disk(), lower).CombinedOutput(); err != nil {
		return fmt.Errorf("mount %s: %w: %s", image.Disk(), err, text)
	}
	if err := machine.Mount("overlay", c.root, "overlay", 0, "lowerdir="+lower+",upperdir="+upper+",workdir="+work); err != nil {
		return err
	}
	for _, m := range []struct{ source, target, fstype string }{{"proc", "proc", "proc"}, {"sysfs", "sys", "sysfs"}, {"tmpfs", "run", "tmpfs"}, {"tmpfs", "tmp", "tmpfs"}} {
		if err := machine.Mount(m.source, filepath.Join(c.root, m.target), m.fstype, 0, ""); err != nil {
			return err
		}
	}
	if err := machine.Mount("/dev", filepath.Join(c.root, "dev"), "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte("controller")); err != nil {
		return err
	}
	_, err := c.must("sh", "-euc", "ip link set lo up; ip addr add "+controllerAddress+"/32 dev lo; mkdir -p /run/lock/nova /run/mysqld /run/rabbitmq; chown mysql /run/mysqld; chown rabbitmq /run/rabbitmq")
	return err
}

// command is a program below the control services' root, in a session of its own, as systemd starts one.
func (c *control) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(c.ctx, "/usr/bin/env", args...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: c.root, Setsid: true}
	return cmd
}

// must runs a program that has to succeed and returns what it printed.
func (c *control) must(args ...string) (string, error) {
	cmd := c.command(args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%q: %w: %s", args, err, stderr.Bytes())
	}
	return string(out), err
}

// openstack runs the command that people use, as a user, who has a project of the same name.
func (c *control) openstack(user string, args ...string) (string, error) {
	env := []string{"OS_AUTH_URL=http://controller:5000/v3", "OS_USERNAME=" + user, "OS_PASSWORD=secret", "OS_PROJECT_NAME=" + user,
		"OS_USER_DOMAIN_NAME=Default", "OS_PROJECT_DOMAIN_NAME=Default", "OS_REGION_NAME=RegionOne", "OS_IDENTITY_API_VERSION=3",
		"OS_COMPUTE_API_VERSION=" + computeVersion}
	return c.must(append(append(env, "openstack"), args...)...)
}

// service starts a program that is to stay until the namespaces end, for later plays, too.
func (c *control) service(name string, args ...string) error {
	log, err := os.OpenFile(filepath.Join(c.logs, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := c.command(args...)
	cmd.Cancel = func() error { return nil }
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	c.Lock()
	c.services[name] = cmd
	c.Unlock()
	if err := os.WriteFile(filepath.Join(c.pids, name), []byte(strconv.Itoa(cmd.Process.Pid)), 0o644); err != nil {
		return err
	}
	go func() {
		err := cmd.Wait()
		c.Lock()
		defer c.Unlock()
		if c.services[name] == cmd {
			c.ended = append(c.ended, fmt.Sprintf("%s ended: %v", name, err))
		}
	}()
	return nil
}

// end ends a service with its children, if it runs. An earlier play may have started it.
func (c *control) end(name string) error {
	c.Lock()
	delete(c.services, name)
	c.Unlock()
	file := filepath.Join(c.pids, name)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	group, err := strconv.Atoi(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := syscall.Kill(-group, syscall.SIGKILL); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return os.Remove(file)
}

// until waits for something to hold; it fails if a service ends meanwhile.
func (c *control) until(what string, holds func() (bool, error)) error {
	var last error
	for began := time.Now(); time.Since(began) < vm.Patience; time.Sleep(time.Second) {
		done, err := holds()
		if done {
			return nil
		}
		last = err
		c.Lock()
		ended := c.ended
		c.Unlock()
		if c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
		if ended != nil {
			return errors.New(strings.Join(ended, "; "))
		}
	}
	return errors.Join(fmt.Errorf("not within %v: %s", vm.Patience, what), last)
}

// listens waits for a service to take connections.
func (c *control) listens(port int) error {
	return c.until(fmt.Sprintf("a service at port %d", port), func() (bool, error) { return dial(port) })
}

// silent waits for a service that was ended to take no connections any more.
func (c *control) silent(port int) error {
	return c.until(fmt.Sprintf("no service at port %d", port), func() (bool, error) {
		listens, _ := dial(port)
		return !listens, nil
	})
}

// dial reports whether a service takes connections.
func dial(port int) (bool, error) {
	conn, err := net.Dial("tcp", net.JoinHostPort(controllerAddress, strconv.Itoa(port)))
	if err != nil {
		return false, err
	}
	return true, conn.Close()
}

// web are the services that have no server of their own.
func (c *control) web(name string, port int, program string) error {
	return c.service(name, "uwsgi_python3", "--plugins", "python3", "--http-socket", fmt.Sprintf("0.0.0.0:%d", port), "--wsgi-file", program,
		"--master", "--processes", "1", "--threads", "4", "--enable-threads", "--buffer-size", "65535", "--post-buffering", "65536",
		"--add-header", "Connection: close", "--die-on-term", "--lazy-apps")
}

// novas are Nova's services here.
var novas = []string{"nova-api", "nova-conductor", "nova-scheduler"}

// start starts all services and makes users, endpoints, flavors and an image.
func (c *control) start() error {
	go http.ListenAndServe(":9696", neutron{}) // until the end
	if err := errors.Join(c.service("mariadb", "mariadbd", "--user=mysql"), c.service("rabbitmq", "rabbitmq-server"),
		c.web("keystone", 5000, "/usr/bin/keystone-wsgi-public")); err != nil {
		return err
	}
	if err := c.until("the database", func() (bool, error) {
		_, err := c.must("mysqladmin", "-uroot", "ping")
		return err == nil, err
	}); err != nil {
		return err
	}
	if err := c.listens(5000); err != nil {
		return err
	}
	// The others look for each other's endpoints when they start.
	if err := c.introduce(); err != nil {
		return err
	}
	if err := errors.Join(c.web("placement", 8778, "/usr/bin/placement-api"), c.service("glance", "glance-api")); err != nil {
		return err
	}
	for _, port := range []int{8778, 9292, 5672} {
		if err := c.listens(port); err != nil {
			return err
		}
	}
	if err := errors.Join(os.MkdirAll(filepath.Join(c.root, filepath.Dir(packingFile)), 0o755),
		os.WriteFile(filepath.Join(c.root, packingFile), []byte(packing(true)), 0o644)); err != nil {
		return err
	}
	if err := c.startNova(); err != nil {
		return err
	}
	return c.furnish()
}

// startNova starts Nova's services.
func (c *control) startNova() error {
	for _, name := range novas {
		if err := c.service(name, name); err != nil {
			return err
		}
	}
	return c.listens(8774)
}

// packs has Nova pack the instances on one node before it takes the next, or spread them.
func (c *control) packs(pack bool) error {
	file := filepath.Join(c.root, packingFile)
	if now, err := os.ReadFile(file); err != nil || string(now) == packing(pack) {
		return err
	}
	if err := os.WriteFile(file, []byte(packing(pack)), 0o644); err != nil {
		return err
	}
	for _, name := range novas {
		if err := c.end(name); err != nil {
			return err
		}
	}
	if err := c.silent(8774); err != nil {
		return err
	}
	return c.startNova()
}

// packingFile is where that is set here.
const packingFile = "etc/nova/nova.conf.d/packing.conf"

// packing is the setting for it, which the scheduler and nova-compute read.
func packing(pack bool) string {
	return fmt.Sprintf("[compute]\npacking_host_numa_cells_allocation_strategy = %v\n", pack)
}

// query asks the database; a row a line, and the columns between tabs.
func (c *control) query(statement string) (string, error) {
	return c.must("mysql", "-uroot", "-N", "-r", "-e", statement)
}

// log is what one of Nova's services wrote.
func (c *control) log(service string) (string, error) {
	text, err := os.ReadFile(filepath.Join(c.root, "var/log/nova", service+".log"))
	return string(text), err
}

// keepLogs saves the logs of what failed, those of the compute node, too, if it is up; m is nil if it is not.
func (c *control) keepLogs(m *vm.Machine) {
	to := filepath.Join(os.TempDir(), "novabox-logs")
	fmt.Fprintln(os.Stderr, "the logs are in", to)
	if err := os.RemoveAll(to); err != nil {
		return
	}
	for _, from := range []string{c.logs, filepath.Join(c.root, "var/log/nova"), filepath.Join(c.root, "var/log/keystone")} {
		_ = os.CopyFS(filepath.Join(to, filepath.Base(from)), os.DirFS(from))
	}
	if m == nil {
		return
	}
	text, err := m.Sh("cat /var/log/nova/nova-compute.log; journalctl --no-pager -n 500; virsh list --all; hugeguard status --json || true")
	_ = os.WriteFile(filepath.Join(to, "compute"), fmt.Appendf(nil, "%s\n%v\n", text, err), 0o644)
}

// A neutron stands for Neutron where every instance has no network: every collection is empty.
type neutron struct{}

func (neutron) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	parts := strings.FieldsFunc(r.URL.Path, func(c rune) bool { return c == '/' })
	var answer any
	switch len(parts) {
	case 0:
		link := map[string]string{"href": "http://controller:9696/v2.0/", "rel": "self"}
		answer = map[string]any{"versions": []any{map[string]any{"id": "v2.0", "status": "CURRENT", "links": []any{link}}}}
	case 1:
		answer = map[string]any{"resources": []any{}}
	case 2:
		answer = map[string]any{strings.ReplaceAll(strings.TrimSuffix(parts[1], ".json"), "-", "_"): []any{}}
	default:
		w.WriteHeader(http.StatusNotFound)
		answer = map[string]any{"NeutronError": map[string]string{"message": "not found", "type": "NotFound", "detail": ""}}
	}
	_ = json.NewEncoder(w).Encode(answer) // who asked may have gone
}
