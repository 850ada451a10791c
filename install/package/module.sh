#!/bin/sh
# Gives the module the path $1, as example.org/team/hugeguard: "go install example.org/team/hugeguard/install/hugeguard@latest"
# then finds the command. It has to end in hugeguard: by that install knows the hook programs of all releases.
set -eu
case ${1:-} in
*/hugeguard) ;;
*) echo "module.sh: name the module's path, as in: make module MODULE=example.org/team/hugeguard" >&2; exit 2 ;;
esac
cd "$(dirname "$0")/../.."
was=$("${GO:-go}" list -m)
"${GO:-go}" mod edit -module "$1"
find guard hook sysfs install testdata -name '*.go' -exec sed -i -E "s#\"$was/(guard|hook|sysfs|install|testdata)([/\"])#\"$1/\\1\\2#" {} +
"${GO:-go}" fmt ./... >/dev/null
