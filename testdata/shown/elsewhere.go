package shown

// Elsewhere is the commands that are shown and that neither a captured host nor the live host can run, each with where
// it is run, or why it is not.
var Elsewhere = map[string]string{}
