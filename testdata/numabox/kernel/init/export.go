package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hugeguard/testdata/numabox/kernel/wire"
)

// truth is what became of an exported case.
type truth struct {
	Scenario  string `json:"scenario"`
	Family    string `json:"family"`
	Kernel    string `json:"kernel"`
	Started   *bool  `json:"started"` // nil where launches ended differently
	Stage     string `json:"stage"`
	Error     string `json:"error"`
	HugePages bool   `json:"huge_page_failure"`
	Plays     []told `json:"plays"`
	Seed      uint64 `json:"seed"`
	Note      string `json:"note"`
}

type told struct {
	How     string   `json:"how"`
	Answers []string `json:"answers"`
}

// export sends the case as a captured host, with its holders in place.
func (s *session) export(name string, o *outcome) error {
	if err := s.arrange(o.scene); err != nil {
		return err
	}
	files := map[string][]byte{"prepare.xml": o.scene.Domain.xml(name)}
	var patterns []string
	for _, p := range []string{"online", "possible", "has_memory", "has_cpu", "has_normal_memory",
		"node[0-9]*/distance", "node[0-9]*/cpulist", "node[0-9]*/meminfo", "node[0-9]*/hugepages/*/*"} {
		patterns = append(patterns, nodeDir+"/"+p)
	}
	patterns = append(patterns, filepath.Dir(poolDir)+"/*/*", "/proc/meminfo", "/proc/mounts", "/proc/cmdline", "/proc/filesystems",
		"/proc/self/auxv", "/proc/self/mountinfo", "/proc/sysvipc/shm", "/proc/sys/kernel/osrelease",
		"/proc/sys/vm/nr_hugepages", "/proc/sys/vm/nr_overcommit_hugepages")
	patterns = append(patterns, cgroupDir+"/cpuset.*.effective", cgroupDir+"/cgroup.controllers", "/usr/share/dbus-1/*/*")
	for _, file := range []string{"cpuset.*.effective", "hugetlb.2MB.*max", "hugetlb.2MB.*current"} {
		patterns = append(patterns, machineSlice+"/"+file, partitionDir(o.scene.Group.partition())+"/"+file)
	}
	for i := range o.scene.Holders {
		for _, file := range []string{"status", "comm", "cmdline", "maps", "numa_maps", "stat", "cgroup"} {
			patterns = append(patterns, fmt.Sprintf("/proc/%d/%s", s.holders[i].cmd.Process.Pid, file))
		}
	}
	for _, pattern := range patterns {
		names, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
				continue // files that are only written to
			}
			if err != nil {
				return err
			}
			files["host"+name] = data
		}
	}
	if l := o.host.Mounts[0].Limit; l != nil {
		files["host"+hugeMount+".statfs"] = []byte(fmt.Sprintf("%d %d\n", l.Pages, l.Pages-l.Used))
	}
	started, failed := counts(o.plays...)
	t := truth{Scenario: name, Family: "kernel", Kernel: release(), Seed: s.options.Seed, Stage: "qemu"}
	if started == 0 || failed == 0 {
		all := failed == 0
		t.Started = &all
	} else {
		t.Note = "what becomes of it depends on the releases, the host's set-up or chance"
	}
	for _, p := range o.plays {
		how := told{How: p.variant.String()}
		for _, a := range p.answers {
			how.Answers = append(how.Answers, a.String())
			if a.Failed {
				t.Error = a.String()
				t.HugePages = true
			}
		}
		t.Plays = append(t.Plays, how)
	}
	if failed == 0 {
		t.Stage = ""
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetIndent("", " ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(t); err != nil {
		return err
	}
	files["truth.json"] = text.Bytes()
	s.port.send(wire.Message{Fixture: &wire.Fixture{Name: strings.ToLower(name), Files: files}})
	return nil
}
