package guard

// What the tests use of this package that nobody else does. They lie outside of it, as they read domains and say
// verdicts by packages that import it.
var (
	MessageIDs = messageIDs
	CanServe   = canServe
	Drifts     = drifts
)

// Resolved returns the backends of a demand as they are judged.
func Resolved(d Demand, host Host) []Backend {
	backends, _ := resolve(d, host)
	return backends
}

// Began returns the releases of libvirt, QEMU and Linux that changed a rule; 0 is any before them.
func Began() (libvirt, qemu, kernel []Version) {
	return ofLibvirt.began(), ofQEMU.began(), ofKernel.began()
}

// ConditionsOfRules returns all that a warning may say of releases.
func ConditionsOfRules() (all []Combinations) {
	for _, c := range conditions() {
		all = append(all, c.combinations())
	}
	return all
}
