#!/bin/sh
# Checks the dashboard against Grafana's published schema, which is the types of TypeScript in npm's @grafana/schema. It
# fetches them into a directory that it removes. Needs npm.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cp package.json package-lock.json "$work"
{
	cat dashboard.ts
	printf 'export const dashboard: Plain<Dashboard> = '
	cat ../../install/shipped/grafana/hugeguard.json
	echo ';'
} >"$work/dashboard.ts"
cd "$work"
npm ci --silent --no-audit --no-fund --ignore-scripts --cache "$work/cache"
node_modules/.bin/tsc --noEmit --strict --skipLibCheck --module esnext --moduleResolution bundler --target es2022 dashboard.ts
