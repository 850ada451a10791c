package installtest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"testing"
)

// Entries lists an archive of tar, each entry with its content.
func Entries(t testing.TB, archive []byte) (list []string) {
	t.Helper()
	for in := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := in.Next()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, fmt.Sprintf("%s %c %s %v %q", h.Name, h.Typeflag, h.Linkname, h.ModTime, data))
	}
}
