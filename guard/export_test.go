package guard

// What the tests of this package need of packages that import it: others_test.go has them set.
var (
	ParseDomain func(xml []byte) (Demand, error)

	Summary func(Verdict) string
	Line    func(Verdict) string
	Text    func(Verdict) string
	Fields  func(Verdict) map[string]string
	Message func(Finding) string
	JSON    func(Verdict) ([]byte, error)
	Fixes   func(Verdict) []FixInWords
	Reserve func([]Reservation) []string
)

// FixInWords is what the tests read of words.Fix; Lines are its commands and its lines.
type FixInWords struct {
	For   string
	Lines []string
}
