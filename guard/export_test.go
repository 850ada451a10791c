package guard

// ParseDomain is domain.Parse: the tests of this package cannot import it, as it imports guard.
var ParseDomain func(xml []byte) (Demand, error)
