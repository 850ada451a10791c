package words

import (
	"fmt"
	"slices"

	"hugeguard/guard"
	"hugeguard/guard/fix"
)

// Fixes says what to do about a refusal, the best first.
func Fixes(v fix.Verdict) []Fix {
	fixes := []Fix{}
	for _, fact := range v.Fixes {
		if f := placed(v, fact); len(f.Commands) > 0 || len(f.Lines) > 0 {
			f.Kind = fact.Kind()
			// In JSON nothing is [], not null.
			f.Commands, f.Lines, f.Lasting = append([]string{}, f.Commands...), append([]string{}, f.Lines...), append([]string{}, f.Lasting...)
			fixes = append(fixes, f)
		}
	}
	return fixes
}

// passing are the kinds of fixes that name processes or files as they are now: others may have these pids and names later.
var passing = []string{fix.StopProcesses{}.Kind(), fix.EndFormer{}.Kind(), fix.RestartKeepers{}.Kind(), fix.DeleteFiles{}.Kind()}

// say says a fix; it has neither commands nor lines where there is nothing to say.
func say(fact fix.Fix) Fix {
	switch f := fact.(type) {
	case nil:
		return Fix{} // no part of another
	case fix.GrowPools:
		return growPools(f)
	case fix.BootPools:
		return bootPools(f)
	case fix.FreeMemory:
		return freeMemory(f)
	case fix.RaiseLimits:
		return raiseLimits(f)
	case fix.ChangeDomain:
		return changeDomain(f)
	case fix.WidenCpuset:
		return widenCpuset(f)
	case fix.EnableHooks:
		return enableHooks(f)
	case fix.TryAgain:
		return tryAgain(f)
	case fix.TakeOrdinary:
		return takeOrdinary(f)
	case fix.MoveBackingDir:
		return moveBackingDir(f)
	case fix.LookUnconfined:
		return lookUnconfined(f)
	case fix.DeleteFiles:
		return deleteFiles(f)
	case fix.EndFormer:
		return endFormer(f.Former)
	case fix.Reboot:
		return reboot(f)
	case fix.FreeDeadGuests:
		return freeDead(f)
	case fix.RestartKeepers:
		return restartKeepers(f.Keepers)
	case fix.ShrinkOVS:
		return shrinkOVS(f)
	case fix.TuneProcess:
		return tune(f)
	case fix.StopGuest:
		return stopGuest(f.Guest)
	case fix.StopProcesses:
		return stop(f.Holders)
	case fix.MountPages:
		return mountFix(f).with(say(f.Then))
	case fix.RestartDaemon:
		return lateFix(f)
	case fix.ChangePages:
		return pagesFix(f).with(say(f.Then))
	}
	return sayForManager(fact)
}

// sayForManager says a fix that is made where guests are managed.
func sayForManager(fact fix.Fix) Fix {
	switch f := fact.(type) {
	case fix.ReserveInNova:
		return reserveInNova(f)
	case fix.RestartNova:
		return restartNova(f)
	case fix.ReserveInVDSM:
		return reserveInVDSM(f)
	case fix.RunInPod:
		return runInPod(f)
	case fix.SetStarlingX:
		return setStarlingX(f)
	case fix.RaisePodLimit:
		return raisePodLimit(f)
	}
	panic(fmt.Sprintf("no words for %T", fact))
}

// placed says a fix for where hugeguard runs: in a container root's commands are not the host's.
func placed(v fix.Verdict, fact fix.Fix) Fix {
	if v.Inside != guard.InsideHost {
		alone := v.Holders == nil || v.Holders.Alone
		switch fact := fact.(type) {
		case fix.MountPages:
			f := mountInside(fact, v.Inside, alone)
			if fact.Then != nil {
				f = f.with(placed(v, fact.Then))
			}
			return f
		case fix.RestartDaemon:
			return restartInside(fact, v.Inside, alone)
		}
	}
	f := say(fact)
	if _, grows := fact.(fix.GrowPools); grows && v.Manager == guard.ManagerKubeVirt {
		f.Lasting = append(slices.Clone(f.Lasting), "systemctl restart kubelet on the node: it counts pages when it starts")
	}
	if v.Inside == guard.InsideHost || f.For != "host" {
		return f
	}
	where := "on the host, outside of this container"
	if v.Inside == guard.InsidePod {
		f.For, where = "node", "on the Kubernetes node, outside of this pod"
	}
	switch fact := fact.(type) {
	case fix.DeleteFiles:
		return f // here, too
	case fix.LookUnconfined:
		if !fact.Alone {
			return f // here, too
		}
	case fix.RaiseLimits:
		if !fact.Limits[0].Mount {
			f.What += " (" + where + ", its control group has another path)"
			return f
		}
	}
	f.What = where + ": " + f.What
	if f.short != "" {
		f.short = where + ": " + f.short
	}
	return f
}
