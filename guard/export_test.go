package guard

// What the tests of this package need of packages that import it: others_test.go has them set.
var (
	ParseDomain func(xml []byte) (Demand, error)

	Summary  func(Verdict) string
	Text     func(Verdict) string
	Fields   func(Verdict) map[string]string
	Message  func(Finding) string
	JSON     func(Verdict) ([]byte, error)
	Remedies func(Verdict) []Remedy
	Reserve  func([]Reservation) []string
)

// Remedy is words.Remedy.
type Remedy struct {
	For, How string
	Lines    []string
}
