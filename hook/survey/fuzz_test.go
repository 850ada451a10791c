package survey

import (
	"bytes"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"hugeguard/guard/words"
	"hugeguard/hook/hooktest"
)

// Whatever a process shows of itself, who holds pages is found twice the same, and nobody has more than there is in what
// is said of him.
func FuzzHolders(f *testing.F) {
	h := hooktest.Spoilable(f)
	shown := []string{"proc/2974/numa_maps", "proc/2974/maps", "proc/2974/status", "proc/2974/cmdline", "proc/3066/numa_maps", "proc/3066/cmdline", "proc/sysvipc/shm"}
	for i, name := range shown {
		text, err := os.ReadFile(h.Path(name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), text)
		f.Add(uint8(i), bytes.ReplaceAll(text, []byte("N0="), []byte("N1023=")))
		f.Add(uint8(i), bytes.Repeat(text, 3))
		f.Add(uint8(i), text[:len(text)/2])
		f.Add(uint8(i), []byte{})
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		h := h
		h.Host = h.For(t)
		name := shown[int(which)%len(shown)]
		defer h.With(t, h.Number(t, name), data)()
		host := look(t, h.FS(), time.Now().Add(time.Hour))
		if again := look(t, h.FS(), time.Now().Add(time.Hour)); !reflect.DeepEqual(host.Holders, again.Holders) {
			t.Errorf("%s = %q: %+v, then %+v", name, data, host.Holders, again.Holders)
		}
		for _, pool := range host.Report() {
			if pool.Unaccounted != nil && *pool.Unaccounted > pool.Total {
				t.Errorf("%s = %q: %d of %d pages are unexplained", name, data, *pool.Unaccounted, pool.Total)
			}
			for _, holder := range pool.Holders {
				if !hooktest.PlainLines(words.Holder(holder, 2048)) || strings.Contains(words.Holder(holder, 2048), "\n") {
					t.Errorf("%s = %q: %+v", name, data, holder)
				}
			}
		}
	})
}
