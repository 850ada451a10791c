package hook

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"testing"

	"hugeguard/guard"
	"hugeguard/hook/hooktest"
	"hugeguard/hook/ledger"
	"hugeguard/sysfs/sysfstest"
)

// TestNovaInRefusal: what the line says of Nova.
func TestNovaInRefusal(t *testing.T) {
	const (
		short = "OVS-DPDK holds node 0's 2M pages: 0 of 1024 free, 256 needed (512 MiB); ovs-vswitchd (pid 2974) has 512"
		set   = "fix: reserved_huge_pages=node:0,size:2048,count:512"
		there = " (node 1 has 512 free)"
		free  = "; node 1 has 512 free"
		end   = "; more: hugeguard explain instance-00000003"
	)
	for _, test := range []struct {
		name string
		make func(t *testing.T, h sysfstest.Host)
		want string // between short and end
		text string // what the entry has besides
	}{
		{"no Nova", func(*testing.T, sysfstest.Host) {}, "; fix: bind ram-node0 to node 1" + there, "\nfix (domain): "},
		{"it reserves none", func(t *testing.T, h sysfstest.Host) { h.Write(hooktest.NovaConf, "[DEFAULT]\npassword=hunter2\n") },
			", nova.conf reserves none; " + set + there, "node 1, 2M pages: Nova reserves 0, counts 0 for its instances and believes 1024 (2 GiB) free; others than its instances hold 512 (1 GiB) more"},
		{"it reserves too few", func(t *testing.T, h sysfstest.Host) {
			h.Write(hooktest.NovaConf, "[DEFAULT]\nreserved_huge_pages=node:0,size:2MiB,count:100\nreserved_huge_pages=node:1,size:1GB,count:2\nreserved_huge_pages=node:7,size:2048,count:3\n")
		}, ", nova.conf reserves 100; " + set + there, "fix (nova): in place of reserved_huge_pages in /etc/nova/nova.conf, then restart nova-compute; then start the instance again. " +
			"Nova may place it where it does not fit again, as it does not count the 256 pages of 2M (512 MiB) of guest instance-00000001 and those of 1 more, " +
			"which it did not make: shut them down, or have Nova manage them\n  [DEFAULT]\n" +
			"  reserved_huge_pages=node:0,size:2048,count:512\n  reserved_huge_pages=node:1,size:2048,count:512\n" +
			"  reserved_huge_pages=node:7,size:2048,count:3\n  reserved_huge_pages=node:1,size:1048576,count:2"},
		{"nobody restarted nova-compute", func(t *testing.T, h sysfstest.Host) {
			h.Write(hooktest.NovaConf, hooktest.ReservesAll)
			hooktest.NovaRuns(h, 1000)
			hooktest.ChangedAt(t, h, hooktest.NovaConf, 1003)
		}, ", nova.conf reserves 512; fix: restart nova-compute (pid 812), which was started before /etc/nova/nova.conf was changed" + there, ""},
		{"somebody else's guests", func(t *testing.T, h sysfstest.Host) {
			h.Write(hooktest.NovaConf, hooktest.ReservesAll)
			hooktest.NovaRuns(h, 1000)
			hooktest.ChangedAt(t, h, hooktest.NovaConf, 1001)
		}, ", nova.conf reserves 512; Nova does not count the pages of guest instance-00000001 (256), guest instance-00000002 (256), as it did not make them" + free, ""},
		{"Nova knows", func(t *testing.T, h sysfstest.Host) {
			h.Write(hooktest.NovaConf, hooktest.ReservesAll)
			hooktest.MadeByNova(t, h)
		},
			", nova.conf reserves 512; Nova believes only 0 free there: it placed this start earlier, or its scheduler did not place it" + free,
			"node 0, 2M pages: Nova reserves 512 (1 GiB), counts 512 (1 GiB) for its instances and believes 0 free\n"},
		{"the other node is left", func(t *testing.T, h sysfstest.Host) {
			h.Write(hooktest.NovaConf, "[DEFAULT]\nreserved_huge_pages=node:0,size:2048,count:600\n")
			hooktest.MadeByNova(t, h)
		}, ", nova.conf reserves 600; Nova believes only 0 free there: it placed this start earlier, or its scheduler did not place it" + free,
			"88 (176 MiB) fewer are taken than it allows for"},
		{"broken", func(t *testing.T, h sysfstest.Host) { h.Write(hooktest.NovaConf, "[DEFAULT]\nhunter2\n") }, "; " + set + there,
			"what Nova reserves is not known: /etc/nova/nova.conf: line 2: neither a colon nor an equals sign"},
		{"nova-compute would not start", func(t *testing.T, h sysfstest.Host) {
			h.Write(hooktest.NovaConf, "[DEFAULT]\nreserved_huge_pages=node:0,size:2M,count:512\npassword=hunter2\n")
		}, "; " + set + there, `what Nova reserves is not known: /etc/nova/nova.conf: line 2: reserved_huge_pages="node:0,size:2M,count:512": size: neither`},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t, strings.NewReader(hooktest.Domain(t, "prepare.xml")))
			test.make(t, f.host)
			if status := f.prepare(); status != exitRefuse || len(f.entries) != 1 {
				t.Fatalf("status %d, %+v", status, f.entries)
			}
			if got, want := f.stderr.String(), short+test.want+end; got != want {
				t.Errorf("%s\nwant\n%s", got, want)
			}
			if text := f.entries[0].Message; !strings.Contains(text, test.text) {
				t.Errorf("no %q in\n%s", test.text, text)
			}
			if all := fmt.Sprintf("%s%+v", &f.stderr, f.entries); strings.Contains(all, "hunter2") {
				t.Errorf("a password in %s", all)
			}
		})
	}
}

// TestRefusedIsKept: what Nova counts for a refused instance is kept, and nothing of others' guests.
func TestRefusedIsKept(t *testing.T) {
	for _, manager := range []string{"nova", ""} {
		xml := hooktest.Domain(t, "prepare.xml")
		if manager != "" {
			xml = strings.Replace(xml, "  <memory unit", `<metadata><nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1"/></metadata><memory unit`, 1)
		}
		f := newFixture(t, strings.NewReader(xml))
		if status := f.prepare(); status != exitRefuse {
			t.Fatalf("status %d", status)
		}
		demand := f.demand.Load()
		kept, err := ledger.ReadRefused(f.host.FS(), demand.Domain.UUID)
		if manager == "" {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%+v, %v of nobody's guest", kept, err)
			}
			continue
		}
		if want := guard.InstanceOf(*demand, false); err != nil || !reflect.DeepEqual(kept, want) || len(kept.Pages) == 0 {
			t.Errorf("%+v, %v, want %+v", kept, err, want)
		}
		// There are pages now.
		for _, dir := range []string{"sys/kernel/mm", "sys/devices/system/node/node0", "sys/devices/system/node/node1"} {
			f.host.Write(dir+"/hugepages/hugepages-2048kB/free_hugepages", "1024\n")
		}
		f = newCall(t, f.host, strings.NewReader(xml))
		if status := f.prepare(); status != exitAccept {
			t.Fatalf("status %d: %s", status, &f.stderr)
		}
		if kept, err := ledger.ReadRefused(f.host.FS(), demand.Domain.UUID); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%+v, %v after a start that was allowed", kept, err)
		}
	}
}
