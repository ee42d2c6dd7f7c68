#!/usr/bin/env bash
# The text engine by itself, in the two ways that docs/text.md gives: it builds
# without any library, and the example does what it says.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "crdt_alone: $*" >&2
    exit 1
}

cat >"$work/expected" <<'TEXT'
# Ada writes; Ben gets each edit as it happens
(an update of 33 bytes)
Ben sees: The cat sat.
# apart: nothing arrives, and both go on
Ada sees: The old black cat sat.
Ben sees: The cat sat on the mat.
# together again
Ada sees: The old black cat sat on the mat.
Ben sees: The old black cat sat on the mat.
Ben's cursor was at byte 8 and is at 18, before "sat"
# Ada takes her last edit back; Ben's stays
Ben sees: The cat sat on the mat.
# who wrote what
  Ada wrote "The cat sat"
  Ben wrote " on the mat"
  Ada wrote "."
TEXT

# runs PROGRAM: it prints that, and is linked with nothing but the C library.
runs() {
    local libraries
    "$1" >"$work/printed" || fail "$1 failed"
    diff "$work/expected" "$work/printed" >&2 || fail "$1 prints something else"
    libraries=$(ldd "$1" | grep -vE 'linux-(vdso|gate)|ld-linux|/libc[.]so' || :)
    [ -z "$libraries" ] || fail "$1 needs $libraries"
}

# block HOW: the lines of the block of docs/text.md whose first begins so.
block() {
    awk -v how="    $1" '
        index($0, how) == 1 { found = 1 }
        found && !/^    / { exit }
        found' "$top/docs/text.md" | grep . ||
        fail "docs/text.md has no block that begins with \"$1\""
}

echo "the files"
build=$(block 'cc ')
(cd "$top" && bash -eu -c "${build/-o text/-o \"$work/text\"}")
runs "$work/text"

echo "installed"
build=$(block 'cmake -S . -B alone ')
cp -r "$top/base" "$top/crdt" "$top/cmake" "$top/docs" "$top/CMakeLists.txt" \
    "$work/"
(cd "$work" && PREFIX=$work/usr bash -eu -c "$build" >"$work/log" 2>&1) || {
    cat "$work/log" >&2
    fail "it cannot be installed by itself"
}
runs "$work/example"
