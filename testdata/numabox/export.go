package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/tools/txtar"

	"hugeguard/testdata/vm"
	"hugeguard/testdata/vm/wire"
)

// pack returns the box as a captured host, packed.
func (b *box) pack() ([]byte, error) {
	r, err := b.Call(wire.Request{Capture: true}, vm.Patience)
	return r.Packed, err
}

// A capture is what a scenario showed: the host before it, the XML as the hook got it, and what became of it.
type capture struct {
	files map[string][]byte // of the host, without the leading slash
	links map[string]string // symbolic links, which a text archive cannot have
	xml   string
	truth any
}

func newCapture(packed []byte, xml string, truth any) (capture, error) {
	c := capture{files: map[string][]byte{}, links: map[string]string{}, xml: xml, truth: truth}
	return c, c.unpack(packed)
}

// folder writes it as hugeguard check --root DIR/host reads it.
func (c capture) folder(dir string) error {
	truth, err := c.truthText()
	if err != nil {
		return err
	}
	for name, data := range c.files {
		if err := writeFile(filepath.Join(dir, "host", filepath.FromSlash(name)), data); err != nil {
			return err
		}
	}
	for name, target := range c.links {
		at := filepath.Join(dir, "host", filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.Symlink(target, at)); err != nil {
			return err
		}
	}
	return errors.Join(writeFile(filepath.Join(dir, "prepare.xml"), []byte(c.xml)), writeFile(filepath.Join(dir, "truth.json"), truth))
}

// archive writes it as one text archive, as [sysfstest.Archive] reads it.
func (c capture) archive(file string) error {
	truth, err := c.truthText()
	if err != nil {
		return err
	}
	a := txtar.Archive{Files: []txtar.File{{Name: "truth.json", Data: truth}, {Name: "prepare.xml", Data: []byte(c.xml)}}}
	for _, name := range slices.Sorted(maps.Keys(c.files)) {
		data := c.files[name]
		if bytes.IndexByte(data, 0) >= 0 {
			name += ".base64"
			data = append([]byte(base64.StdEncoding.EncodeToString(data)), '\n')
		}
		a.Files = append(a.Files, txtar.File{Name: name, Data: data})
	}
	return writeFile(file, txtar.Format(&a))
}

func (c capture) truthText() ([]byte, error) {
	text, err := json.MarshalIndent(c.truth, "", " ")
	return append(text, '\n'), err
}

func writeFile(name string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, data, 0o644)
}

func (c capture) unpack(packed []byte) error {
	zip, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return err
	}
	archive := tar.NewReader(zip)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch header.Typeflag {
		case tar.TypeSymlink:
			c.links[header.Name] = header.Linkname
		case tar.TypeReg:
			if c.files[header.Name], err = io.ReadAll(archive); err != nil {
				return err
			}
		}
	}
}
