package guard

// What the tests of this package need of packages that import it: others_test.go has them set.
var (
	ParseDomain func(xml []byte) (Demand, error)

	// JudgeAndFix is [Judge] with the fixes, and Helps tries each of those that are about pools and limits.
	JudgeAndFix func(Demand, Host) Verdict
	Helps       func(t Fataler, d Demand, host Host, v Verdict) (fixes int)

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

// Fataler is a test, as far as it can fail.
type Fataler interface {
	Errorf(format string, args ...any)
}
