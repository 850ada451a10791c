package ledger

import (
	"bytes"
	"fmt"
	"strings"

	"hugeguard/guard"
	"hugeguard/sysfs"
)

// ToldPath has which pools the fixes of refusals were to make larger since the boot, below the root: a line for each.
const ToldPath = Dir + "/" + toldName

const (
	toldName   = "told"
	toldFormat = "%d pages of %d KiB on node %d, of %d, with %d KiB available, failed: %t\n"
	toldLimit  = 64 << 10 // in bytes
	mostTold   = 200
)

// KeepTold keeps which pools fixes are to make larger, in place of those that were kept before.
func KeepTold(root sysfs.FS, told []guard.Told) error {
	return keep(root.Path(Dir), toldName, toldText(told[max(len(told)-mostTold, 0):]))
}

func toldText(told []guard.Told) (text []byte) {
	for _, t := range told {
		text = fmt.Appendf(text, toldFormat, t.Pages, t.PageKiB, t.Node, t.Had, t.AvailableKiB, t.Failed)
	}
	return text
}

// ReadTold returns what [KeepTold] kept.
func ReadTold(root sysfs.FS) ([]guard.Told, error) {
	read := root.ReadOwn
	if !root.Live() {
		read = root.ReadFile // whose it was is not captured
	}
	text, err := read(ToldPath, toldLimit)
	if err != nil {
		return nil, err
	}
	told, err := ParseTold(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", root.Path(ToldPath), err)
	}
	return told, nil
}

// ParseTold reads what [KeepTold] wrote.
func ParseTold(text []byte) (told []guard.Told, err error) {
	for line := range strings.Lines(string(text)) {
		var t guard.Told
		_, err := fmt.Sscanf(line, toldFormat, &t.Pages, &t.PageKiB, &t.Node, &t.Had, &t.AvailableKiB, &t.Failed)
		if err != nil || t.Pages > 1<<40 || t.PageKiB == 0 || t.PageKiB > 1<<40 || t.Node < 0 || t.AvailableKiB > 1<<60 {
			return nil, errForeign
		}
		told = append(told, t)
	}
	if !bytes.Equal(toldText(told), text) {
		return nil, errForeign
	}
	return told, nil
}

// ReduceTold returns what a capture keeps of the file: all of it, or of what makes no sense what makes none either.
func ReduceTold(text []byte) ([]byte, error) {
	if _, err := ParseTold(text); err != nil {
		return []byte("nothing\n"), nil
	}
	return text, nil
}
