package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// vain is how often the kernel is asked again in vain until a pool is taken for as large as it gets.
const vain = 5

// SetPool gives a pool of huge pages so many pages. dir has its counters: that of a page size below [HugePages], or a
// node's. Where the kernel cannot make all of them it is an error that says how many there are.
//
// The kernel stops early without an error where its memory is in pieces, and at a signal (set_max_huge_pages), of which
// Go's runtime sends its threads some. So it is asked again, with its memory put together, for as long as that helps.
func SetPool(dir string, pages int) error {
	file := filepath.Join(dir, "nr_hugepages")
	most := 0
	for asked := 0; asked < vain; asked++ {
		if err := os.WriteFile(file, []byte(strconv.Itoa(pages)), 0); err != nil {
			return err
		}
		total, err := count(file)
		if err != nil || total >= pages {
			return err
		}
		if total > most {
			most, asked = total, 0
		}
		if err := compact(); err != nil {
			return err
		}
	}
	pieces, err := os.ReadFile("/proc/buddyinfo")
	if err != nil {
		return err
	}
	return fmt.Errorf("%s: %d pages were asked for and the kernel makes %d: too little free memory is in one piece:\n%s", dir, pages, most, pieces)
}

// compact has the kernel put its free memory together. In its way are caches that it cannot move, those of names and
// inodes: these are dropped, and read again when a process wants them.
func compact() error {
	for _, control := range []struct{ file, value string }{{"drop_caches", "2"}, {"compact_memory", "1"}} {
		err := os.WriteFile(filepath.Join("/proc/sys/vm", control.file), []byte(control.value), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without compaction
			return err
		}
	}
	return nil
}

// count reads a file that has one number.
func count(file string) (int, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	return n, nil
}
