#!/usr/bin/env bash
# The gate's binary holds nothing of what reads documents.
set -euo pipefail

gate=$COVIM_BUILD/gate/covim-gate
command -v nm >/dev/null || {
    echo "SKIP: there is no nm"
    exit 77
}
symbols=$(nm --defined-only "$gate" | awk '{ print $3 }')
grep -q '^cv_gate_core_new$' <<<"$symbols" || {
    echo "FAIL: $gate has no symbols, so this shows nothing"
    exit 1
}
bad=0
# Every function of crdt/ and session/, as their libraries have them.
for lib in crdt session; do
    file=$COVIM_BUILD/$lib/libcovim_$lib.a
    nm --defined-only "$file" 2>/dev/null |
        awk '$2 == "T" { print $3 }' | sort -u >"${TMPDIR:-/tmp}/$$.names"
    n=$(wc -l <"${TMPDIR:-/tmp}/$$.names")
    common=$(grep -Fxf "${TMPDIR:-/tmp}/$$.names" <<<"$symbols" || true)
    rm -f "${TMPDIR:-/tmp}/$$.names"
    [ "$n" -gt 20 ] || {
        echo "FAIL: $file has $n functions"
        bad=1
    }
    [ -z "$common" ] || {
        echo "FAIL: the gate has functions of $lib:" $common
        bad=1
    }
    echo "gate_symbols: none of the $n functions of $lib is in the gate"
done
exit $bad
