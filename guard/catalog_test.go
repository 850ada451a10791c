package guard

import (
	"cmp"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestCatalog: the message catalog explains every kind of entry, and takes in
// only fields that each of them has; and each has a page of the documentation.
func TestCatalog(t *testing.T) {
	text, err := os.ReadFile("../install/shipped/hugeguard.catalog")
	if err != nil {
		t.Fatal(err)
	}
	explained := map[string]bool{}
	for _, entry := range strings.Split("\n"+string(text), "\n-- ")[1:] {
		id, entry, _ := strings.Cut(entry, "\n")
		header, body, _ := strings.Cut(entry, "\n\n")
		if explained[id] {
			t.Errorf("%s is explained twice", id)
		}
		explained[id] = true
		if !strings.HasPrefix(header, "Subject: ") || !strings.Contains(header, "\nDefined-By: hugeguard") || len(strings.Fields(body)) < 30 {
			t.Errorf("%s says too little:\n%s", id, entry)
		}
		for i, field := range strings.Split(entry, "@") {
			always := []string{"HUGEGUARD_DOMAIN", "HUGEGUARD_NEEDED", "HUGEGUARD_FREE", "HUGEGUARD_TOTAL", "HUGEGUARD_PAGE_KIB"}
			if i%2 == 1 && !slices.Contains(always, field) {
				t.Errorf("%s takes in %s, which not every entry has", id, field)
			}
		}
	}
	for cause, id := range messageIDs {
		if !explained[id] {
			t.Errorf("%s, the cause %q, is not explained", id, cause)
		}
		delete(explained, id)
		if _, err := os.Stat("../install/doc/causes/" + cmp.Or(string(cause), "warning") + ".md"); err != nil {
			t.Errorf("the cause %q has no page: %v", cause, err)
		}
	}
	if causes := Causes(); len(causes) != len(messageIDs)-1 || slices.ContainsFunc(causes, func(c Cause) bool { return messageIDs[c] == "" }) {
		t.Errorf("the causes are %q, entries are of %q", causes, slices.Collect(maps.Keys(messageIDs)))
	}
	if len(explained) > 0 {
		t.Errorf("entries of no cause: %q", slices.Collect(maps.Keys(explained)))
	}
}
