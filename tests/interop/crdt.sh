#!/bin/sh
# Random histories of our documents and those of the real Yjs.
# Needs node and npm; the packages are fetched once into the build folder.
# Arguments: the driver, the number of histories, the first seed.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=${COVIM_BUILD:?}/interop-crdt

for tool in node npm; do
    if ! command -v "$tool" >/dev/null 2>&1; then
        echo "skipped: $tool is not installed"
        exit 77
    fi
done

mkdir -p "$work"
cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$work/"
cp "$here/"*.mjs "$work/"
if ! cmp -s "$work/package-lock.json" "$work/node_modules/.installed"; then
    if ! (cd "$work" && npm ci --no-audit --no-fund --ignore-scripts \
          >npm.log 2>&1); then
        tail -n 5 "$work/npm.log"
        echo "skipped: npm could not fetch the packages"
        exit 77
    fi
    cp "$work/package-lock.json" "$work/node_modules/.installed"
fi
exec node "$work/crdt_histories.mjs" "$@"
