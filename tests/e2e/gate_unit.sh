#!/usr/bin/env bash
# The systemd unit leaves the gate little: an exposure of 1.5 at most.
set -euo pipefail
cd "$(dirname "$0")/../.."

command -v systemd-analyze >/dev/null || {
    echo "SKIP: systemd-analyze is not installed"
    exit 77
}
report=$(systemd-analyze security --offline=true --no-pager \
    packaging/covim-gate.service)
tail -n 1 <<<"$report"
exposure=$(sed -n 's/.*exposure level for [^:]*: \([0-9.]*\).*/\1/p' <<<"$report")
awk -v e="$exposure" 'BEGIN { exit !(e != "" && e <= 1.5) }' || {
    echo "FAIL: the exposure is \"$exposure\""
    exit 1
}
