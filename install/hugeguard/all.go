package main

import (
	"errors"
	"fmt"
	"slices"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/words"
	"hugeguard/hook/survey"
)

// An answer is what check --all says of one domain.
type answer struct {
	words.Report
	// Autostart says that libvirt starts the domain by itself.
	Autostart bool `json:"autostart"`
	// InOrder is what becomes of it after those with autostart that come before it; nil without autostart, or
	// without huge pages.
	InOrder *inOrder `json:"in_order,omitempty"`
}

// An inOrder is what becomes of a domain that is started after others.
type inOrder struct {
	Position int            `json:"position"` // from 1, among those with autostart and huge pages
	Decision guard.Decision `json:"decision"`
	Cause    guard.Cause    `json:"cause"` // of a refusal, else ""; starting-guests for the pages of those before it
	Summary  string         `json:"summary"`
}

// A crowd judges many domains on one host, which is looked at once for all of them.
type crowd struct {
	*checker
	seen    guard.Host       // with the pools of all sizes
	started []guard.Starting // those with autostart that fitted, in order
	order   int              // how many had autostart and huge pages
}

// all asks about every domain that does not run. One that cannot be judged does not hide the others.
func (c *checker) all() error {
	known := openDomains(c.host)
	defer known.close()
	off, err := known.off()
	if err != nil {
		return err
	}
	if len(off) == 0 {
		c.note("no domain is defined that does not run")
	}
	var all *crowd // once a domain asks for huge pages
	var failed, refused error
	var late []answer // in order only
	for _, l := range off {
		a, err := func() (a answer, err error) {
			d, err := known.get(l.name)
			if err != nil {
				return a, err
			}
			demand, err := domain.Parse(d.xml)
			demand.Exempt = c.config.Exempts(demand)
			if err == nil && all == nil && len(demand.Backends) > 0 {
				all, err = c.look()
			}
			if err == nil {
				a, err = all.judge(demand, l.autostart)
			}
			if err != nil {
				return a, fmt.Errorf("domain %s: %w", l.name, err)
			}
			return a, nil
		}()
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		if c.json {
			err = printJSON(c.out, a)
		} else {
			_, err = fmt.Fprintf(c.out, "%s: %s%s: %s\n", guard.Printable(l.name, 200), a.Decision, exempt(a), a.Summary)
		}
		if err != nil {
			return err
		}
		short := a.Decision == guard.Refuse
		if a.InOrder != nil && a.InOrder.Decision == guard.Refuse {
			short = true
			late = append(late, a)
		}
		if short && a.Exempt == "" {
			refused = errRefused
		}
	}
	if all != nil && all.order > 0 && !c.json {
		if err := c.printOrder(all.order, late); err != nil {
			return err
		}
	}
	if failed != nil {
		return failed
	}
	return refused
}

// exempt says in words that a domain is exempt.
func exempt(a answer) string {
	if a.Exempt != "" {
		return " (exempt)"
	}
	return ""
}

// printOrder says which of those with autostart are left without pages.
func (c *checker) printOrder(all int, late []answer) error {
	if len(late) == 0 {
		_, err := fmt.Fprintf(c.out, "autostart: one after the other, by name, all %d with huge pages would start\n", all)
		return err
	}
	if _, err := fmt.Fprintf(c.out, "autostart: one after the other, by name (libvirt has no order of its own), %d of %d with huge pages would be left without:\n", len(late), all); err != nil {
		return err
	}
	for _, a := range late {
		if _, err := fmt.Fprintf(c.out, "  %d. %s%s: %s\n", a.InOrder.Position, guard.Printable(a.Domain.Name, 200), exempt(a), a.InOrder.Summary); err != nil {
			return err
		}
	}
	return nil
}

// look looks at the host for all domains.
func (c *checker) look() (*crowd, error) {
	host, err := c.survey(survey.All)
	if err != nil {
		return nil, err
	}
	return &crowd{checker: c, seen: host}, nil
}

// judge judges a domain alone, and one with autostart after those before it. Without huge pages all that
// does not matter, and there may be no crowd.
func (c *crowd) judge(demand guard.Demand, autostart bool) (answer, error) {
	a := answer{Autostart: autostart}
	if len(demand.Backends) == 0 {
		a.Report = words.NewReport(guard.Judge(demand, guard.Host{})) // as the hook, without looking
		return a, nil
	}
	host, err := survey.Counters(c.host, survey.For(demand))
	if err != nil {
		return a, err
	}
	sizes := demand.PageSizes(host)
	host.Nodes, host.Holders, host.OVS, host.Nova = c.seen.Nodes, c.seen.Holders, c.seen.OVS, c.seen.Nova
	host.Pools = slices.DeleteFunc(slices.Clone(c.seen.Pools), func(p guard.SizePool) bool { return !slices.Contains(sizes, p.PageKiB) })
	host.Starting = slices.DeleteFunc(slices.Clone(c.seen.Starting), func(s guard.Starting) bool {
		return s.Domain.Name == demand.Domain.Name || s.Domain.UUID == demand.Domain.UUID
	})
	a.Report = words.NewReport(c.unlessHooks(guard.Judge(demand, host)))
	if !autostart {
		return a, nil
	}
	c.order++
	host.Starting = append(host.Starting, c.started...)
	then := c.unlessHooks(guard.Judge(demand, host))
	a.InOrder = &inOrder{Position: c.order, Decision: then.Decision, Cause: then.Cause, Summary: words.Summary(then)}
	if then.Decision != guard.Refuse || then.Exempt != "" {
		c.started = append(c.started, then.AsStarting())
	}
	if then.Cause == guard.CauseStartingGuests {
		a.InOrder.Summary = words.Finding(then.Findings[0]) // the rest is about trying again, which would be of no use
	}
	return a, nil
}
