#!/usr/bin/env bash
# A connection changes between a gate and the direct path while it is used:
#
#     a ── a-nat ──┐  25 ms  ┌── b-nat ── b
#                  ├── gate ─┤
#                  └─────────┘      this one drops everything, and passes it on
#
# A transfer keeps every byte during twenty changes, and no echo waits long for
# the gate when the direct path dies under it.
set -euo pipefail
# shellcheck source=tests/netlab/roaming.sh
. "$(dirname "$0")/roaming.sh"
command -v dhtnode >/dev/null || lab_skip "no dhtnode"
here=$(dirname "$0")

swaps() {
    roam_begin "$work/swaps"
    roam_gate_pair
    if ! roam_swaps $((8 << 20)) 20 90 ||
        ! python3 "$here/roaming.py" swaps "$roam_dir" 20; then
        roam_show
        exit 1
    fi
}

# The figures are the benchmark's; this machine may be busy.
deaths() {
    roam_begin "$work/deaths"
    roam_gate_pair
    if ! roam_deaths 4 ||
        ! python3 "$here/roaming.py" deaths "$roam_dir" 1000; then
        roam_show
        exit 1
    fi
}

work=$(mktemp -d)
(swaps)
(deaths)
rm -rf "$work"
