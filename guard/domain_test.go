package guard_test

import (
	"hugeguard/guard"
	"hugeguard/guard/domain"
)

func init() { guard.ParseDomain = domain.Parse }
