# What the packages and the release say of the project, here alone. build.sh and dist.sh read it.
HOMEPAGE= # https://..., once there is one
: "${MAINTAINER:=hugeguard <packages@hugeguard.invalid>}"
