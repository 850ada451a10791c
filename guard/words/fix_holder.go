package words

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"hugeguard/guard"
	"hugeguard/guard/fix"
)

func endFormer(h guard.Holder) Fix {
	f := onHost(fmt.Sprintf("end this guest's own earlier QEMU (pid %d), which libvirt takes for ended", h.PID), "kill -9 "+strconv.Itoa(h.PID))
	f.Cost = "what that QEMU has not written yet is lost"
	if h.Stuck {
		f.What += "; it is in state D, where a signal waits until the kernel lets go, often of a passed-through device (VFIO)"
	}
	return f
}

func reboot(r fix.Reboot) Fix {
	what := "reboot this host, if you must have the unexplained pages back. They may be those of a hugetlbfs that was unmounted in use (umount -l), " +
		"of one in another mount namespace (look with grep hugetlbfs /proc/*/mountinfo), or lost by the kernel"
	if r.Why == fix.EndStuck {
		what = "reboot this host if that QEMU is still there a minute later"
	}
	f := onHost(what, "systemctl reboot")
	f.Cost = rebootCost
	return f
}

// lookUnconfined says where to look for those who hold pages. Outside of a container there need be no hugeguard.
func lookUnconfined(l fix.LookUnconfined) Fix {
	if l.Alone {
		return onHost("find out which processes have the pages", "grep HugetlbPages /proc/[0-9]*/status | grep -v ' 0 kB'")
	}
	return onHost("look for holders outside libvirt's confinement, which hides some", "hugeguard status")
}

const rebootCost = "reboots this host: all its guests stop"

// freeDead has back ends give back the memory of guests that are gone, by what these need again if they start again.
func freeDead(d fix.FreeDeadGuests) Fix {
	first, guests, device := d.Keepers[0], deadGuests(d.Keepers), "device"
	returns := !d.Nova && slices.ContainsFunc(d.Keepers, func(h guard.Holder) bool { return h.Defined || h.Guest == guard.UnknownGuest })
	f := Fix{For: "host", What: fmt.Sprintf("delete the vhost device of %s from %s, by its own tool", guests, process(first)),
		Lines: []string{"with SPDK: rpc.py vhost_get_controllers, which shows what it is", "with SPDK: rpc.py vhost_delete_controller NAME"},
		short: fmt.Sprintf("delete the vhost device of %s from %s", guests, process(first))}
	again := []string{"with SPDK: rpc.py vhost_create_blk_controller NAME BDEV, as it was"}
	if first.Kind == guard.HolderOVS {
		device = "port"
		f.What, f.short = fmt.Sprintf("delete the vhost-user port of %s from %s", guests, process(first)), "delete Open vSwitch's port of "+guests
		f.Lines = []string{portsOf(d), inside(first, "ovs-vsctl del-port PORT")}
		again = []string{inside(first, "ovs-vsctl add-port BRIDGE PORT -- set Interface PORT type=TYPE options:vhost-server-path=PATH")}
		if returns {
			f.Lines = slices.Insert(f.Lines, 1, inside(first, "ovs-vsctl port-to-br PORT")+" # names BRIDGE")
		}
	}
	f.Cost = "no guest that runs loses anything"
	switch {
	case d.Again:
		f.What += ", and add it again as it was: its guest needs it to start"
		f.Lines = append(f.Lines, again...)
		f.short += ", and add it again"
	case d.Nova:
		f.Cost += ". Nova adds it again when it starts the instance"
	case returns:
		f.Cost += ". If its guest is to start again, add the " + device + " again first"
	}
	return f
}

// portsOf is the command that shows which port of Open vSwitch's is a dead guest's: Nova notes with each port whose it is.
func portsOf(d fix.FreeDeadGuests) string {
	first := d.Keepers[0]
	if d.Nova && first.Own && isUUID(d.Domain.UUID) {
		return inside(first, "ovs-vsctl --columns=name,type,options find Interface external_ids:vm-uuid="+d.Domain.UUID) + " # names PORT"
	}
	show := inside(first, "ovs-vsctl --columns=name,type,options list Interface")
	_, guest, _ := strings.Cut(first.Guest, "-")
	if first.Own {
		guest = d.Domain.Name
	}
	whole := first.Own || utf8.RuneCountInString(guest) < guard.ShortNameMost
	if word := virshWord(guest); first.Defined && whole && word != "" {
		return show + " # names PORT: its PATH is in virsh dumpxml " + word
	}
	return show + " # names PORT: its PATH is that of no guest that runs"
}

// restartKeepers restarts back ends.
func restartKeepers(keepers []guard.Holder) Fix {
	var who []string
	byHand := false
	for _, h := range keepers {
		if p := process(h); !slices.Contains(who, p) {
			who = append(who, p)
		}
		byHand = byHand || strings.HasPrefix(manage(h, "restart"), "kill ")
	}
	f := onHost("restart "+enumerate(who, 3), restarts(keepers)...)
	if !slices.ContainsFunc(keepers, guard.Holder.ServesMany) {
		f.What, f.Cost = "end "+enumerate(who, 3)+", which served "+deadGuests(keepers), "stops nothing: no QEMU uses that memory"
		return f
	}
	if byHand {
		f.What = "end " + enumerate(who, 3) + ", then start it as it was started before"
	}
	f.Cost = "the guests that it serves lose their disks or networks until it runs again"
	if keepers[0].Kind == guard.HolderOVS {
		f.Cost = "the traffic of all guests stops until it runs again"
	}
	return f
}

// deadGuests names the guests that are gone whose memory is kept.
func deadGuests(keepers []guard.Holder) string {
	var guests []string
	for _, h := range keepers {
		guests = append(guests, deadGuest(h))
	}
	slices.Sort(guests)
	return enumerate(slices.Compact(guests), 5)
}

// restarts returns the commands that restart processes: their units, or their containers; without either they are
// ended, so that their owner can start them again.
func restarts(holders []guard.Holder) (commands []string) {
	for _, h := range holders {
		commands = append(commands, manage(h, "restart"))
	}
	return slices.Compact(commands)
}

// manage returns the command that stops, or restarts, a process by its own unit or its container; else the one that ends
// it, and nothing that is somebody else's.
func manage(h guard.Holder, verb string) string {
	id, contained := strings.CutPrefix(h.Unit, "container ")
	switch {
	case contained && h.Engine == "crictl":
		return "crictl stop " + ShellWord(id) // kubelet starts it again
	case contained && h.Engine != "":
		return h.Engine + " " + verb + " " + ShellWord(id)
	case h.Service != "":
		return "systemctl " + verb + " " + ShellWord(h.Service)
	}
	return end(h)
}

func end(h guard.Holder) string { return fmt.Sprintf("kill %d", h.PID) }

// inside returns a command as it is run where a process is: in its container.
func inside(h guard.Holder, command string) string {
	id, contained := strings.CutPrefix(h.Unit, "container ")
	if contained && h.Engine != "" {
		return h.Engine + " exec " + ShellWord(id) + " " + command
	}
	return command
}

// process names a process for a fix.
func process(h guard.Holder) string {
	return fmt.Sprintf("%s (pid %d%s)", name(h.Name), h.PID, unitOf(h.Unit, h.Guest))
}

func shrinkOVS(s fix.ShrinkOVS) Fix {
	const command = "ovs-appctl dpdk/get-malloc-stats"
	less, use := sizes(s.Less), "how much it uses is not known: see "+inside(s.OVS, command)
	if s.Used != nil {
		use = fmt.Sprintf("it uses %s now (%s)", sizes(s.Used), command)
	}
	set, keys := "other_config:dpdk-socket-mem="+less, "dpdk-socket-mem="+less
	if s.Limited {
		set += " other_config:dpdk-socket-limit=" + sizes(s.Limit)
		keys += " and dpdk-socket-limit=" + sizes(s.Limit)
		use += ". 262144 packets are a part of that: under the limit it makes room for fewer"
	}
	f := onHost(fmt.Sprintf("have Open vSwitch take less memory: %s instead of dpdk-socket-mem=%s (MiB of each node); %s", keys, sizes(s.Told), use),
		inside(s.OVS, "ovs-vsctl --no-wait set Open_vSwitch . "+set),
		manage(s.OVS, "restart"))
	f.Cost = "restarts Open vSwitch: the traffic of all guests stops until it runs again, and with less memory for packets a port may not come up"
	f.Lasting = []string{"nothing to do: Open vSwitch's database keeps it"}
	if s.Limited {
		f.Cost += ", or drop packets under load"
	}
	return f
}

// sizes returns sizes of each node as Open vSwitch writes them.
func sizes(mib []uint64) string {
	var all []string
	for _, size := range mib {
		all = append(all, strconv.FormatUint(size, 10))
	}
	return strings.Join(all, ",")
}

// stop says how processes are ended: a database in order, unless its unit or its container does that.
func stop(holders []guard.Holder) Fix {
	var databases, others []guard.Holder
	for _, h := range holders {
		if shutdownOf(h) != "" && manage(h, "stop") == end(h) {
			databases = append(databases, h)
		} else {
			others = append(others, h)
		}
	}
	switch {
	case databases == nil:
		return stopProcesses(others)
	case others == nil:
		return stopDatabases(databases)
	}
	return stopProcesses(others).with(stopDatabases(databases))
}

// stopDatabases says how databases are shut down, which no command of root's does.
func stopDatabases(holders []guard.Holder) Fix {
	var who, how []string
	for _, h := range holders {
		who, how = append(who, process(h)), append(how, shutdownOf(h))
	}
	slices.Sort(how)
	short := "shut down the database of " + enumerate(who, 3)
	return Fix{For: "host", What: short + ". Do not kill its processes", Lines: slices.Compact(how), Cost: untilStarted(holders), short: short}
}

// stopProcesses says how processes are ended by commands. A daemon may have started one that is in its unit: then the
// unit is not named.
func stopProcesses(holders []guard.Holder) Fix {
	var who, commands, alone []string
	for _, h := range holders {
		who, commands = append(who, process(h)), append(commands, manage(h, "stop"))
		if manage(h, "stop") == end(h) && (strings.HasSuffix(h.Unit, ".service") || strings.HasPrefix(h.Unit, "container ")) {
			alone = append(alone, strconv.Itoa(h.PID))
		}
	}
	f := onHost("stop "+enumerate(who, 3), slices.Compact(commands)...)
	if alone != nil {
		f.What += ". Better stop what started it, which may start it again (systemctl status " + strings.Join(alone, " ") + " shows it): kill ends the process alone"
	}
	f.Cost = untilStarted(holders)
	switch {
	case slices.ContainsFunc(holders, guard.Holder.InPod):
		return endPods(holders, who)
	case len(who) == 1 && runsGuest(holders[0]):
		return shutDown(holders[0], f)
	}
	return f
}

// untilStarted says who loses what while processes do not run.
func untilStarted(holders []guard.Holder) string {
	var lost []string
	for _, h := range holders {
		lost = append(lost, loses(h))
	}
	lost = slices.Compact(lost)
	switch {
	case len(holders) == 1:
		return lost[0] + " until it is started again"
	case slices.Equal(lost, []string{itsService}):
		return "their services are down until they are started again"
	}
	return strings.Join(lost, ", ") + " until they are started again"
}

// inOrder are programs whose processes nobody should kill, by how their names begin, and how they are shut down.
var inOrder = []struct{ name, how string }{
	{"ora_", "as SYSDBA in sqlplus: SHUTDOWN IMMEDIATE"},
	{"oracle", "as SYSDBA in sqlplus: SHUTDOWN IMMEDIATE"},
	{"db2sysc", "as the owner of the instance: db2stop"},
}

// shutdownOf is how a program is shut down that nobody should kill; "" for all others, which a signal ends in order.
func shutdownOf(h guard.Holder) string {
	program := cmp.Or(h.Program, h.Name)
	for _, p := range inOrder {
		if strings.HasPrefix(program, p.name) {
			return p.how
		}
	}
	return ""
}

// stopGuest says how another guest ends.
func stopGuest(h guard.Holder) Fix {
	word := virshWord(h.Name)
	if word == "" {
		return Fix{}
	}
	f := onHost(fmt.Sprintf("shut down guest %s, without which this one fits, or move it to another host", name(h.Name)), "virsh shutdown "+word)
	f.short = "virsh shutdown " + word + " (that guest stops)"
	f.Cost = fmt.Sprintf("that guest stops, and gives back %s. If it starts again first, this one does not fit", pagesOf(allPages(h), h.PageKiB))
	return f
}

// virshWord returns the word of a shell's command by which virsh knows a guest; "" for a name that virsh takes for an
// option, or first for the id of a guest that runs (virshLookupDomainInternal).
func virshWord(guest string) string {
	id, err := strconv.ParseInt(strings.TrimLeft(guest, " \t\n\v\f\r"), 10, 32) // as strtol reads an int
	if err == nil && id >= 0 || strings.HasPrefix(guest, "-") {
		return ""
	}
	return ShellWord(guest)
}

// endPods says how processes in pods are ended: kubelet starts a container again that is only stopped.
func endPods(holders []guard.Holder, who []string) Fix {
	f := Fix{For: "kubernetes", What: "end the pods of " + enumerate(who, 3) + ": scale down what runs them. Kubelet starts a container again that is only stopped",
		Cost: "what they do stops until they are scaled up again", short: "end the pods of " + enumerate(who, 2)}
	const names = `{{index .status.labels "io.kubernetes.pod.namespace"}}/{{index .status.labels "io.kubernetes.pod.name"}}`
	for _, h := range holders {
		id, contained := strings.CutPrefix(h.Unit, "container ")
		switch {
		case contained && h.InPod():
			f.Commands = append(f.Commands, "crictl inspect --output go-template --template "+quoted(names)+" "+ShellWord(id)+" # names the pod")
		default:
			f.Commands = append(f.Commands, manage(h, "stop"))
		}
	}
	return f
}

// shutDown says how a guest that is none of libvirt's is ended; f ends its process.
func shutDown(h guard.Holder, f Fix) Fix {
	f.short = "shut down the guest that " + process(h) + " runs"
	if id, ok := strings.CutSuffix(h.Unit, ".scope"); ok && strings.Trim(id, "0123456789") == "" { // Proxmox VE names it so
		f.What, f.Commands, f.Cost = f.short, []string{"qm shutdown " + id}, "that guest stops"
		return f
	}
	f.What = f.short + ", by its own manager or from within; the command is for a guest that nobody can shut down"
	f.Cost = "that guest stops; with the command it loses what it has not written yet"
	return f
}

// runsGuest reports whether a process that is no guest of libvirt's runs a guest all the same: one that was started by
// hand, or by another manager. The kernel cuts the names of processes at 15 bytes.
func runsGuest(h guard.Holder) bool {
	program := cmp.Or(h.Program, h.Name)
	return strings.HasPrefix(program, "qemu-") || slices.Contains([]string{"kvm", "cloud-hypervisor", "cloud-hyperviso", "firecracker", "crosvm"}, program)
}

// programs are those of which it is known, by how the names of their processes begin, who loses what while they do not
// run, and how they are told to take fewer huge pages, or none.
var programs = []struct {
	names []string
	lost  string
	say   func(fix.TuneProcess) Fix
}{
	{[]string{"vpp"}, traffic, tuneVPP},
	{[]string{"spdk", "vhost", "nvmf_tgt", "iscsi_tgt", "bdevperf"}, "the guests that it serves lose their disks", tuneSPDK},
	{[]string{"testpmd", "dpdk-", "l2fwd", "l3fwd"}, traffic, tuneDPDK},
	{[]string{"postgres"}, clients, tunePostgreSQL},
	{[]string{"mysqld", "mariadbd"}, clients, tuneMySQL},
	{[]string{"java"}, itsService, tuneJava},
	{[]string{"ora_", "oracle"}, clients, tuneOracle},
	{[]string{"xmrig"}, itsService, tuneMiner},
}

const (
	traffic    = "its traffic stops"
	clients    = "its clients lose their connections"
	itsService = "its service is down"
)

// programOf returns which of the programs a process runs; -1 for any other.
func programOf(h guard.Holder) int {
	program := cmp.Or(h.Program, h.Name)
	for i, p := range programs {
		if slices.ContainsFunc(p.names, func(name string) bool { return strings.HasPrefix(program, name) }) {
			return i
		}
	}
	return -1
}

// loses says who loses what while a process does not run.
func loses(h guard.Holder) string {
	if i := programOf(h); i >= 0 {
		return programs[i].lost
	}
	return itsService
}

// tune says how a process takes fewer pages by a switch of its own; nothing where none is known. In a pod it is the pod's
// declaration that says so.
func tune(t fix.TuneProcess) Fix {
	i := programOf(t.Holder)
	if i < 0 {
		return Fix{}
	}
	f := programs[i].say(t)
	f.Cost = "restarts it: " + programs[i].lost + " until it runs again" + f.Cost
	f.For, f.short = "host", cmp.Or(f.short, strings.Join(f.Commands, "; "))
	if t.Holder.InPod() && len(f.Lines) > 0 {
		f.For, f.What = "kubernetes", "in the declaration of its pod: "+f.What
		if f.short != "" {
			f.short = "in the declaration of its pod: " + f.short
		}
	}
	return f
}

// then says how a process is restarted after a file has changed: a pod restarts by itself where its declaration changes.
func then(h guard.Holder) string {
	if h.InPod() {
		return ""
	}
	return ", then " + manage(h, "restart")
}

// ordinary says what it costs beside the restart to have a process take ordinary memory.
func ordinary(h guard.Holder) string {
	return fmt.Sprintf("; it takes %s of ordinary memory instead, and is slower", Amount(allPages(h), h.PageKiB))
}

// allPages is how many pages a process has, or was promised.
func allPages(h guard.Holder) uint64 {
	pages := h.Unplaced + h.Reserved
	for _, n := range h.Pages {
		pages += n
	}
	return pages
}

// withOption has a process be started with an option.
func withOption(h guard.Holder, option, cost string) Fix {
	f := Fix{What: "start " + process(h) + " with this option", Lines: []string{option}, Cost: cost, short: "start " + process(h) + " with " + option}
	if unit, ok := strings.CutPrefix(manage(h, "restart"), "systemctl restart "); ok {
		f.What = fmt.Sprintf("start %s with this option: add it to ExecStart= (systemctl edit --full %s), then run systemctl restart %s", process(h), unit, unit)
	}
	return f
}

// left is how much memory a process may still have, in MiB, on each node up to the last where it has some, and in all.
func left(t fix.TuneProcess) (nodes []string, all uint64) {
	last := 0
	for node := range t.Holder.Pages {
		last = max(last, node)
	}
	for node := range last + 1 {
		pages := t.Holder.Pages[node]
		mib := (pages - min(pages, t.Fewer[node])) * t.Holder.PageKiB / 1024
		nodes = append(nodes, strconv.FormatUint(mib, 10))
		all += mib
	}
	return nodes, all
}

// leastBuffers is how many buffers VPP is left on each node at the least: what it takes if it is told nothing.
const leastBuffers = 16384

// leastDPDK is the least memory in MiB that a program of DPDK's or SPDK's is told to do with.
const leastDPDK = 64

// https://s3-docs.fd.io/vpp/24.06/configuration/reference.html, buffers and memory.
func tuneVPP(t fix.TuneProcess) Fix {
	least := uint64(1 << 32) // left on a node that is short, in MiB
	for node, pages := range t.Holder.Pages {
		if t.Fewer[node] > 0 {
			least = min(least, (pages-min(pages, t.Fewer[node]))*t.Holder.PageKiB/1024)
		}
	}
	buffers := least * 1024 * 2 / 5
	if buffers < leastBuffers || least == 1<<32 {
		return Fix{}
	}
	return Fix{What: "in /etc/vpp/startup.conf give VPP so many buffers, of 2.5 KiB each, at the most (if main-heap-page-size is huge there, fewer or a smaller " +
		"main-heap-size; in old releases less dpdk socket-mem)" + then(t.Holder),
		Lines: []string{fmt.Sprintf("buffers { buffers-per-numa %d }", buffers)}}
}

// The option -s of https://spdk.io/doc/app_overview.html. DPDK takes a total from each node by how many of the CPUs there
// are the program's (eal_dynmem_calc_num_pages_per_socket): it does where all the pages lie on one node.
func tuneSPDK(t fix.TuneProcess) Fix {
	_, all := left(t)
	if all < leastDPDK || len(t.Holder.Pages) != 1 || t.Holder.Unplaced > 0 {
		return Fix{}
	}
	return withOption(t.Holder, fmt.Sprintf("--mem-size %d", all), "")
}

// https://doc.dpdk.org/guides/linux_gsg/linux_eal_parameters.html
func tuneDPDK(t fix.TuneProcess) Fix {
	nodes, all := left(t)
	if all < leastDPDK {
		return Fix{}
	}
	return withOption(t.Holder, "--socket-mem="+strings.Join(nodes, ","), "")
}

// https://www.postgresql.org/docs/current/runtime-config-resource.html, huge_pages and shared_buffers.
func tunePostgreSQL(t fix.TuneProcess) Fix {
	set := func(setting string) []string {
		sql := `psql -U postgres -c "ALTER SYSTEM SET ` + setting + `"`
		if !strings.HasPrefix(t.Holder.Unit, "container ") {
			sql = "runuser -u postgres -- " + sql
		}
		return []string{inside(t.Holder, sql), manage(t.Holder, "restart")}
	}
	if t.Ordinary {
		return Fix{What: "have PostgreSQL take ordinary memory", Commands: set("huge_pages = off"), Cost: ordinary(t.Holder)}
	}
	_, mib := left(t)
	mib = (mib + t.Holder.Reserved*t.Holder.PageKiB/1024) * 9 / 10 // its other shared memory is of huge pages, too
	if mib < leastDPDK {
		return Fix{}
	}
	var missing uint64
	for _, n := range t.Fewer {
		missing += n
	}
	return Fix{What: fmt.Sprintf("have PostgreSQL take less shared memory: it has %s in huge pages, touched or promised, and %s less is enough. "+
		"Do not set huge_pages = off: there is too little ordinary memory for that", Amount(allPages(t.Holder), t.Holder.PageKiB), Amount(missing, t.Holder.PageKiB)),
		Commands: set(fmt.Sprintf("shared_buffers = '%dMB'", mib)), Cost: "; its cache is smaller"}
}

// https://dev.mysql.com/doc/refman/8.4/en/large-page-support.html
func tuneMySQL(t fix.TuneProcess) Fix {
	if !t.Ordinary {
		return Fix{}
	}
	return Fix{What: "in its my.cnf have it take ordinary memory" + then(t.Holder), Lines: []string{"[mysqld]", "large_pages=OFF"},
		Cost: ordinary(t.Holder)}
}

// https://docs.oracle.com/en/java/javase/21/docs/specs/man/java.html
func tuneJava(t fix.TuneProcess) Fix {
	if !t.Ordinary {
		return Fix{}
	}
	return withOption(t.Holder, "-XX:-UseLargePages", ordinary(t.Holder))
}

// https://docs.oracle.com/en/database/oracle/oracle-database/19/refrn/USE_LARGE_PAGES.html
func tuneOracle(t fix.TuneProcess) Fix {
	if !t.Ordinary {
		return Fix{}
	}
	return Fix{What: "as SYSDBA in sqlplus have the database take ordinary memory. It is down from SHUTDOWN to STARTUP", Lines: []string{
		"ALTER SYSTEM SET use_large_pages = FALSE SCOPE = SPFILE;", "SHUTDOWN IMMEDIATE", "STARTUP"},
		Cost: ordinary(t.Holder), short: "have the database take ordinary memory (use_large_pages = FALSE)"}
}

// https://xmrig.com/docs/miner/hugepages
func tuneMiner(t fix.TuneProcess) Fix {
	if !t.Ordinary {
		return Fix{}
	}
	return withOption(t.Holder, "--no-huge-pages", ordinary(t.Holder))
}
