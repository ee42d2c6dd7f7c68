#!/bin/sh
# The lock file of a folder (this one, if none is given) pins versions and
# hashes and holds no download address.
set -eu
here=${1:-$(cd "$(dirname "$0")" && pwd)}
if grep -n '"resolved"\|https\?://[^"]*\.tgz' "$here/package-lock.json"; then
    echo "package-lock.json names where to download from"
    exit 1
fi
grep -q '^omit-lockfile-registry-resolved=true$' "$here/.npmrc"
grep -q '"integrity"' "$here/package-lock.json"
