package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/fix"
	"hugeguard/guard/words"
	"hugeguard/hook"
	"hugeguard/hook/config"
	"hugeguard/hook/survey"
	"hugeguard/install/domains"
	"hugeguard/install/place"
	"hugeguard/install/status"
	"hugeguard/sysfs"
)

// A checker judges a start that does not happen as the hook would.
type checker struct {
	host   sysfs.FS
	config config.Config
	before []place.OtherHook // that libvirt runs before the hook
	after  []place.OtherHook
	json   bool
	out    io.Writer
	notes  io.Writer // for what a verdict does not say
}

func (c *checker) note(format string, args ...any) { note(c.notes, format, args...) }

// configure reads the hook's configuration and the other hooks, and notes what the hook would do or see otherwise.
func (c *checker) configure() {
	conf, err := config.Read(c.host)
	if err != nil {
		c.note("%v", err)
	}
	c.config = conf
	c.before, c.after, err = place.OtherHooks(c.host.Root())
	if err != nil {
		c.note("the other hooks of this host are unknown: %v", err)
	}
	if len(c.before) > 0 {
		c.note("libvirt runs other hooks before hugeguard's, which may add or take pages: this is a forecast without them (hugeguard status names them)")
	}
	if conf.Mode != config.Enforce && !conf.ModeUnread {
		c.note("%s has mode = %s: the hook refuses nothing", c.host.Path(config.Path), conf.Mode)
	}
	if status.Hidden(c.host) {
		c.note("only root sees all holders and all starting guests: run it as root to see what the hook would say")
	}
}

// one judges the domain that an argument names.
func (c *checker) one(arg string, stdin io.Reader) error {
	d, err := domains.Read(arg, stdin, c.host)
	if err != nil {
		return err
	}
	verdict, err := c.judge(d)
	if err != nil {
		return err
	}
	return c.print(verdict, words.Text(verdict))
}

// unlessHooks turns a refusal for lack of pages into a warning if another hook may still make them: one that runs after
// hugeguard's, as the hook does, or one before it that mentions huge pages.
func (c *checker) unlessHooks(v fix.Verdict) fix.Verdict {
	if !v.Shortage() {
		return v
	}
	if len(c.after) > 0 {
		var paths []string
		for _, h := range c.after {
			paths = append(paths, h.Path)
		}
		v.Verdict = v.Unless(hook.LaterMayMake(paths))
		return v
	}
	makers := slices.DeleteFunc(slices.Clone(c.before), func(h place.OtherHook) bool { return !h.HugePages })
	if len(makers) > 0 {
		v.Verdict = v.Unless("another hook may add the pages before hugeguard judges: " + place.Paths(makers))
	}
	return v
}

func (c *checker) judge(d domains.Domain) (fix.Verdict, error) {
	demand, err := domain.Parse(d.XML)
	if err != nil {
		return fix.Verdict{}, fmt.Errorf("%s: %w", d.From, err)
	}
	demand.Exempt = c.config.Exempts(demand)
	if demand.AsksNothing() {
		return fix.Judge(demand, guard.Host{}), nil // without a survey, as the hook
	}
	defer tellIfHung(c.notes)()
	host, err := c.survey(survey.For(demand))
	if err != nil {
		return fix.Verdict{}, err
	}
	if d.Running {
		pages := giveBack(&host, demand.Domain.Name)
		c.note("%s runs: this is about its next start, after it has given back the %d huge pages that it holds", demand.Domain.Name, pages)
	}
	v := c.unlessHooks(fix.Judge(demand, host))
	if v.Exempt != "" {
		would := "hugeguard never refuses it"
		if v.Decision == guard.Refuse {
			would = "would be refused, but is allowed"
		}
		c.note("%s %s: it is exempt by %s", demand.Domain.Name, would, v.Exempt)
	}
	return v, nil
}

// survey surveys the host in full, for at least as long as the hook may: check is to see no less than it.
func (c *checker) survey(of survey.Scope) (guard.Host, error) {
	host, blind, err := survey.Full(c.host, of, c.config, time.Now().Add(max(holdersDeadline, c.config.Deadline)))
	if blind != nil {
		c.note("the starting guests are unknown: %v", blind)
	}
	return host, err
}

// giveBack changes the host to what it will be once the guest has ended, and returns how many pages the guest holds.
// The kernel keeps no surplus page that becomes free (mm/hugetlb.c, free_huge_folio).
func giveBack(host *guard.Host, guest string) (pages uint64) {
	var others []guard.Holder
	for _, h := range host.Holders.List {
		if h.Kind != guard.HolderGuest || h.Name != guest {
			others = append(others, h)
			continue
		}
		for i := range host.Pools {
			if pool := &host.Pools[i]; pool.PageKiB == h.PageKiB {
				pages += takeBack(pool, h)
			}
		}
	}
	host.Holders.List = others
	return pages
}

// takeBack returns a holder's pages to their pool, and how many these are.
func takeBack(pool *guard.SizePool, h guard.Holder) (pages uint64) {
	pool.Reserved -= min(h.Reserved, pool.Reserved)
	for k := range pool.Nodes {
		node := &pool.Nodes[k]
		held := h.Pages[node.Node]
		gone := min(held, node.Surplus)
		node.Total -= gone
		node.Surplus -= gone
		pool.Surplus -= min(gone, pool.Surplus)
		node.Free += held - gone
		pages += held
	}
	return pages
}

// print prints a verdict, as JSON or as the text, and returns errRefused if it is a refusal.
func (c *checker) print(v fix.Verdict, text string) error {
	var err error
	if c.json {
		err = printJSON(c.out, words.NewReport(v))
	} else {
		_, err = fmt.Fprintln(c.out, text)
	}
	if err == nil && v.RefusedBy() != "" {
		err = errRefused
	}
	return err
}
