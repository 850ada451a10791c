package proof

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"strings"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/fix"
	"hugeguard/guard/words"
	"hugeguard/hook/config"
	"hugeguard/hook/survey"
	"hugeguard/sysfs"
)

// A canary is a domain for which no host has room.
type canary struct {
	guard.Domain
	xml      string
	emulator string
	verdict  fix.Verdict // a refusal
}

// unlabelled keeps libvirt from making a security label or, with AppArmor, a profile for it.
const unlabelled = "  <seclabel type='none'/>\n"

// labelled returns the canary's XML for a host that allows no guest without a label (security_require_confined of
// qemu.conf).
func (c canary) labelled() string { return strings.Replace(c.xml, unlabelled, "", 1) }

// mostBytes is the most that a canary can ask for: libvirt's sizes are below 2^63 bytes.
const mostBytes = 1 << 62

// newCanary makes a canary for a host, with the emulator and machine that the daemon would choose by itself. It has no
// disk, network or security label, so that libvirt has nothing to create and to remove for it, and a name of its own,
// so that it touches nothing of libvirt or Nova. It asks for pages of a size that has a mount, since libvirt itself
// would refuse any other.
func newCanary(fs sysfs.FS, conf config.Config, capabilities string) (canary, error) {
	var c canary
	var caps struct {
		Path    string `xml:"path"`
		Domain  string `xml:"domain"`
		Machine string `xml:"machine"`
		Arch    string `xml:"arch"`
	}
	if err := xml.Unmarshal([]byte(capabilities), &caps); err != nil || caps.Path == "" || caps.Domain == "" || caps.Arch == "" {
		return c, fmt.Errorf("libvirt names no emulator in its domain capabilities: %w", errors.Join(err, errors.New(guard.Printable(capabilities, 200))))
	}
	host, err := survey.Counters(fs, survey.All)
	if err != nil {
		return c, err
	}
	page, most, err := canaryPages(host)
	if err != nil {
		return c, err
	}
	var random [22]byte
	rand.Read(random[:]) // never fails
	random[6], random[8] = random[6]&0x0f|0x40, random[8]&0x3f|0x80
	id := hex.EncodeToString(random[:16])
	c.emulator = caps.Path
	c.Name = guard.CanaryPrefix + hex.EncodeToString(random[16:])
	c.UUID = strings.Join([]string{id[:8], id[8:12], id[12:16], id[16:20], id[20:]}, "-")
	c.xml = fmt.Sprintf(`<domain type='%s'>
  <name>%s</name>
  <uuid>%s</uuid>
  <title>made by hugeguard verify, to be refused</title>
  <metadata><hugeguard:canary xmlns:hugeguard='%s'/></metadata>
  <memory unit='b'>%d</memory>
  <memoryBacking><hugepages><page size='%d' unit='KiB'/></hugepages></memoryBacking>
  <vcpu>1</vcpu>
  <os><type arch='%s' machine='%s'>hvm</type></os>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>%s</emulator>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
%s</domain>
`, escaped(caps.Domain), c.Name, c.UUID, guard.Namespace, most, page, escaped(caps.Arch), escaped(caps.Machine), escaped(caps.Path), unlabelled)

	demand, err := domain.Parse([]byte(c.xml))
	if err != nil {
		return c, err
	}
	demand.Exempt = conf.Exempts(demand)
	host, err = survey.Counters(fs, survey.For(demand))
	if err != nil {
		return c, err
	}
	c.verdict = fix.Judge(demand, host)
	if c.verdict.Decision != guard.Refuse {
		return c, fmt.Errorf("hugeguard would not surely refuse a domain of %s on pages of %s on this host: %s", guard.Size(most>>10), guard.Size(page), words.Summary(c.verdict))
	}
	return c, nil
}

// canaryPages returns the page size of a canary in KiB, and how many bytes it asks for: the smallest size that has a
// mount, preferably one without overcommit.
func canaryPages(host guard.Host) (pageKiB, bytes uint64, err error) {
	var chosen *guard.SizePool
	for i := range host.Pools {
		p := &host.Pools[i]
		mounted := false
		for _, m := range host.Mounts {
			mounted = mounted || m.PageKiB == p.PageKiB && m.Over == nil
		}
		if mounted && (chosen == nil || p.Overcommit == 0 && chosen.Overcommit > 0) {
			chosen = p
		}
	}
	if chosen == nil {
		return 0, 0, errors.New("no hugetlbfs is mounted where libvirt looks for it, so libvirt itself refuses every guest with huge pages: mount one (systemd: dev-hugepages.mount) and reload the daemon")
	}
	bytes = guard.CanaryBytes
	// More than there can ever be, even if somebody allows that much overcommit.
	page := chosen.PageKiB << 10
	for bytes/page <= chosen.Overcommit && bytes < mostBytes {
		bytes <<= 1
	}
	return chosen.PageKiB, bytes, nil
}

// escaped returns a text as XML holds it.
func escaped(text string) string {
	var b bytes.Buffer
	xml.EscapeText(&b, []byte(text)) // a buffer takes all
	return b.String()
}
