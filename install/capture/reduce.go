package capture

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/nova"
	"hugeguard/guard/ovs"
	"hugeguard/hook/config"
	"hugeguard/hook/ledger"
	"hugeguard/hook/survey"
	"hugeguard/sysfs"
)

// reduce leaves of a file what is made use of. Whatever else is read than these
// files is Nova's configuration, of which nothing but one option gets through. It
// may lie anywhere and have any name (--config-file, --config-dir): no rule goes by
// the end of a name alone.
func (t *taker) reduce(name string, e sysfs.Entry) ([]byte, error) {
	data := e.Data
	if e.Made {
		return data, checkMade(data)
	}
	if pid, rest := process(name); pid > 0 {
		return t.reduceProcess(pid, rest, data)
	}
	dir, base := path.Split(name)
	switch {
	case kernelFile.MatchString(name), t.ofGroup(name), name == "proc/uptime", name == "proc/sys/kernel/random/boot_id",
		name == config.Path:
		return data, nil
	case name == "proc/self/cgroup":
		return lines(data, ownGroup.MatchString), nil
	case name == "proc/mounts":
		left := reduceMounts(data)
		if len(left) == 0 && len(data) > 0 {
			left = []byte("none / rootfs rw 0 0\n") // there is a root in any case
		}
		return left, nil
	case name == "proc/meminfo":
		return lines(data, func(line string) bool { return strings.HasPrefix(line, "Hugepagesize:") }), nil
	case name == "proc/stat":
		return append([]byte("\n"), lines(data, func(line string) bool { return strings.HasPrefix(line, "btime ") })...), nil
	case name == "proc/self/auxv":
		return reduceAuxv(data), nil
	case name == "proc/sysvipc/shm":
		return reduceSegments(data), nil
	case strings.HasPrefix(dir, "run/") && strings.HasSuffix(base, ".pid"):
		if pid, err := strconv.Atoi(string(bytes.TrimSpace(data))); err != nil {
			return nil, fmt.Errorf("%s is no pid file", guard.Printable(name, 200))
		} else {
			return fmt.Appendln(nil, pid), nil
		}
	case (dir == "run/libvirt/qemu/" || dir == "etc/libvirt/qemu/") && strings.HasSuffix(base, ".xml"):
		left, err := domain.Reduce(data)
		if err != nil {
			// Neither can it be read now, and it is Nova's if it was.
			left = []byte("<domain>\n")
			if bytes.Contains(data, []byte(domain.NovaNamespace)) {
				left = []byte("<domain>" + domain.NovaNamespace + "\n")
			}
		}
		return left, nil
	case name == "etc/libvirt/qemu.conf":
		left, err := survey.ReduceQEMUConf(data)
		return append([]byte{}, left...), err
	case strings.HasPrefix(name, "var/cache/libvirt/qemu/capabilities/"):
		return reduceCapabilities(data), nil
	case name == survey.CapturedOVS:
		conf, err := ovs.Read(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		return ovs.Answer(conf)
	case dir == ledger.Dir+"/":
		var kept ledger.Ledger
		if err := json.Unmarshal(data, &kept); err != nil {
			return nil, err
		}
		return kept.Text(), nil
	}
	return []byte(nova.Reduce(string(data))), nil
}

// madeLine is a line of what sysfs makes of a host: of MOUNT.statfs, and of
// MOUNT.files and the like.
var madeLine = regexp.MustCompile(`^([0-9]+ [0-9]+|[0-9a-f]+:[0-9a-f]+ [0-9]+ [0-9]+ [0-9]+ ".*"|and others: .*)\n?$`)

// checkMade says whether that is all there is, as a captured host can have anything
// in its place.
func checkMade(data []byte) error {
	for _, line := range splitLines(data) {
		if !madeLine.Match(line) {
			return errOdd
		}
	}
	return nil
}

// kernelFile is what is read of the kernel's pools and nodes.
var kernelFile = regexp.MustCompile(`^sys/(kernel/mm/hugepages/hugepages-[0-9]+kB/[a-z_]+` +
	`|devices/system/node/(online|has_memory|has_cpu|node[0-9]+/(cpulist|distance|hugepages/hugepages-[0-9]+kB/[a-z_]+)))$`)

// ownGroup is a line of /proc/self/cgroup.
var ownGroup = regexp.MustCompile(`^[0-9]+:[^:]*:/`)

// groupFile is what is read of a control group.
var groupFile = regexp.MustCompile(`^(cpuset\.[a-z_.]+|hugetlb\.[0-9]+[KMG]B\.[a-z_.]+|cgroup\.controllers)$`)

// ofGroup says whether that is what a file is: the kernel has no other file below
// where control groups are mounted.
func (t *taker) ofGroup(name string) bool {
	return groupFile.MatchString(path.Base(name)) && slices.ContainsFunc(t.cgroups, func(mount string) bool {
		top := strings.Trim(path.Clean(mount), "/")
		return top != "" && strings.HasPrefix(name, top+"/")
	})
}

// reduceProcess does the same with a file of a process's.
func (t *taker) reduceProcess(pid int, rest string, data []byte) ([]byte, error) {
	switch {
	case rest == "status":
		return lines(data, func(line string) bool {
			return strings.HasPrefix(line, "Name:") || strings.HasPrefix(line, "Uid:") || strings.HasPrefix(line, "HugetlbPages:")
		}), nil
	case rest == "stat":
		return reduceStat(data)
	case rest == "cmdline":
		return reduceArguments(data), nil
	case rest == "cgroup":
		return lines(data, func(line string) bool {
			return strings.HasPrefix(line, "0:") || strings.Contains(line, ":name=systemd:")
		}), nil
	case rest == "mounts":
		own, _ := t.host.MountsOf(pid) // as it was read just now
		t.own[pid] = own.Hugetlb
		return reduceMounts(data), nil
	case rest == "numa_maps":
		return t.reduceNUMAMaps(pid, data), nil
	case rest == "smaps":
		return t.reduceSmaps(pid, data), nil
	case rest == "maps":
		mounts := slices.Concat(t.mounts, t.own[pid])
		return lines(data, func(line string) bool {
			start, _, _ := strings.Cut(line, "-")
			at, err := strconv.ParseUint(start, 16, 64)
			_, file, ok := strings.Cut(line, "/")
			return err == nil && t.huge[pid][at] || ok && sysfs.MayMapHuge("/"+strings.TrimSuffix(file, "\n"), mounts)
		}), nil
	case strings.HasPrefix(rest, "root/"):
		return []byte(nova.Reduce(string(data))), nil
	}
	return nil, fmt.Errorf("%q is nothing that a capture has", guard.Printable(rest, 80))
}

// splitLines returns the lines with their line ends.
func splitLines(data []byte) [][]byte {
	lines := bytes.SplitAfter(data, []byte("\n"))
	return slices.DeleteFunc(lines, func(line []byte) bool { return len(line) == 0 })
}

// lines leaves the whole lines that are to be kept, of which each has its line end.
func lines(data []byte, keep func(line string) bool) []byte {
	left := []byte{}
	for _, line := range splitLines(data) {
		if bytes.HasSuffix(line, []byte("\n")) && keep(string(line)) {
			left = append(left, line...)
		}
	}
	return left
}

// reduceMounts leaves the mounts of huge pages and of control groups, and of those that lie over huge pages where, and
// which file system.
func reduceMounts(data []byte) []byte {
	left := []byte{}
	var huge []string
	for _, line := range splitLines(data) {
		fields := strings.Fields(string(line))
		if len(fields) < 3 || !bytes.HasSuffix(line, []byte("\n")) {
			continue
		}
		at, kind := fields[1], fields[2]
		switch kind {
		case "hugetlbfs":
			huge = append(huge, at)
			left = append(left, line...)
		case "cgroup", "cgroup2":
			left = append(left, line...)
		default:
			if slices.ContainsFunc(huge, func(mount string) bool { return at == mount || strings.HasPrefix(at, mount+"/") }) {
				left = fmt.Appendf(left, "none %s %s rw 0 0\n", at, kind)
			}
		}
	}
	return left
}

// reduceNUMAMaps leaves the mappings of huge pages, without the files' names, which
// maps has.
func (t *taker) reduceNUMAMaps(pid int, data []byte) []byte {
	t.huge[pid] = map[uint64]bool{}
	left := []byte{}
	for _, line := range splitLines(data) {
		words := strings.Fields(string(line))
		if len(words) < 2 || !slices.Contains(words[1:], "huge") {
			continue
		}
		if at, err := strconv.ParseUint(words[0], 16, 64); err == nil {
			t.huge[pid][at] = true
		}
		words = slices.DeleteFunc(words, func(word string) bool { return strings.HasPrefix(word, "file=") })
		left = fmt.Appendln(left, strings.Join(words, " "))
	}
	return left
}

// reduceSmaps leaves the mappings of huge pages.
func (t *taker) reduceSmaps(pid int, data []byte) []byte {
	if t.huge[pid] == nil {
		t.huge[pid] = map[uint64]bool{}
	}
	left := []byte{}
	var mapping []byte
	for _, line := range splitLines(data) {
		key, value, ok := strings.Cut(string(line), ":")
		switch {
		case !ok || strings.Contains(key, " "):
			mapping = slices.Clone(line)
		case key == "KernelPageSize", key == "Private_Hugetlb", key == "Shared_Hugetlb":
			mapping = append(mapping, line...)
		case key == "VmFlags" && slices.Contains(strings.Fields(value), "ht"):
			left = append(append(left, mapping...), line...)
			start, _, _ := strings.Cut(string(mapping), "-")
			if at, err := strconv.ParseUint(start, 16, 64); err == nil {
				t.huge[pid][at] = true
			}
		}
	}
	return left
}

// hugetlbKiB reads what a process has of huge pages out of its reduced status.
func hugetlbKiB(status []byte) uint64 {
	for _, line := range strings.Split(string(status), "\n") {
		if value, ok := strings.CutPrefix(line, "HugetlbPages:"); ok {
			kib, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return kib
		}
	}
	return 0
}

// reduceStat leaves the name, and when the process started, which is field 22.
func reduceStat(data []byte) ([]byte, error) {
	text := string(data)
	end := strings.LastIndexByte(text, ')') + 1
	fields := strings.Fields(text[end:])
	if end == 0 || len(fields) < 20 {
		return nil, errors.New("a process's stat has too few fields")
	}
	return fmt.Appendf(nil, "%s S%s %s\n", text[:end], strings.Repeat(" 0", 18), fields[19]), nil
}

// reduceAuxv leaves the page size: the vector has addresses besides.
func reduceAuxv(data []byte) []byte {
	const pageSize = 6 // AT_PAGESZ
	for ; len(data) >= 16; data = data[16:] {
		if binary.LittleEndian.Uint64(data) == pageSize || binary.BigEndian.Uint64(data) == pageSize {
			return append(slices.Clone(data[:16]), make([]byte, 16)...)
		}
	}
	return []byte{}
}

// reduceSegments leaves the columns that are read of the System V segments.
func reduceSegments(data []byte) []byte {
	left := []byte{}
	var columns []int
	for _, line := range splitLines(data) {
		words := strings.Fields(string(line))
		if columns == nil {
			for i, name := range words {
				if slices.Contains([]string{"shmid", "size", "cpid", "nattch", "rss"}, name) {
					columns = append(columns, i)
				}
			}
		}
		var kept []string
		for _, i := range columns {
			if i < len(words) {
				kept = append(kept, words[i])
			}
		}
		left = fmt.Appendln(left, strings.Join(kept, " "))
	}
	return left
}

// reduceCapabilities leaves what libvirt found out about an emulator of which
// releases it and libvirt are, as libvirt writes it: a line for each.
func reduceCapabilities(data []byte) []byte {
	done := false
	return lines(data, func(line string) bool {
		name, _, ok := strings.Cut(strings.TrimPrefix(line, "  <"), ">")
		done = done || name == "arch"
		return !done && (line == "<qemuCaps>\n" || ok && slices.Contains([]string{"emulator", "qemuctime", "selfvers", "version", "package"}, name))
	})
}

const compute = "nova-compute"

// reduceArguments leaves the arguments by which Open vSwitch, a guest or nova-compute
// is known, and where the last finds its configuration.
func reduceArguments(data []byte) []byte {
	if len(data) == 0 {
		return data // the kernel's own
	}
	arguments := strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
	first := path.Base(arguments[0])
	if first != compute && !strings.HasPrefix(first, "ovs-vswitchd") {
		first = ""
	}
	kept := []string{first}
	at := -1
	for i, a := range arguments[:min(len(arguments), 3)] {
		if path.Base(a) == compute {
			at = i
			break
		}
	}
	if at > 0 {
		kept = append(kept, compute)
	}
	named := false
	for i := 1; i < len(arguments); i++ {
		name, value, joined := strings.Cut(arguments[i], "=")
		switch {
		case at >= 0 && i > at && (name == "--config-file" || name == "--config-dir"):
			if !joined {
				if i++; i == len(arguments) {
					continue
				}
				value = arguments[i]
			}
			kept = append(kept, name+"="+value)
		case isDatabase(arguments[i]):
			kept = append(kept, arguments[i])
		case arguments[i] == "-name" && !named && i+1 < len(arguments):
			named = true
			if guest := guestName(arguments[i+1]); guest != "" {
				kept = append(kept, "-name", guest)
			}
		}
	}
	return []byte(strings.Join(kept, "\x00") + "\x00")
}

// isDatabase says whether an argument names the socket of Open vSwitch's database.
func isDatabase(argument string) bool {
	socket, ok := strings.CutPrefix(argument, "unix:")
	return ok && path.Base(socket) == "db.sock"
}

// guestName leaves the name in what libvirt gives QEMU for it: guest=NAME,...
func guestName(argument string) string {
	if !strings.HasPrefix(argument, "guest=") {
		return ""
	}
	for i := 0; i < len(argument); i++ {
		if argument[i] != ',' {
			continue
		}
		if i+1 == len(argument) || argument[i+1] != ',' {
			return argument[:i]
		}
		i++
	}
	return argument
}

// isCompute says whether reduced arguments are nova-compute's.
func isCompute(arguments []byte) bool {
	words := strings.Split(string(arguments), "\x00")
	return slices.Contains(words[:min(len(words), 2)], compute)
}
