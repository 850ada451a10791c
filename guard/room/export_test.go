package room

// What the tests start one launch after the other with.
var (
	Fits  = fits
	After = after
)
