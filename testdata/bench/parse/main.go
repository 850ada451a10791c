// Command parse reads a domain's XML and does nothing with it: what the
// library that does it costs.
package main

import (
	"io"
	"log"
	"os"

	"libvirt.org/go/libvirtxml"
)

func main() {
	xml, err := io.ReadAll(os.Stdin)
	if err != nil {
		log.Fatal(err)
	}
	var domain libvirtxml.Domain
	if err := domain.Unmarshal(string(xml)); err != nil {
		log.Fatal(err)
	}
}
