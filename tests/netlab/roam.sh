#!/usr/bin/env bash
# A connection goes on while the network under it changes:
#
#     a ── a-nat ──┐  25 ms  ┌── b-nat ── b
#                  ├─────────┤
#          c ──────┘         └────── d         c, d: where they move to
#
# Its NATs forget their mappings, its ends move, both at once; and a transfer
# during ten such events at random keeps every byte.
set -euo pipefail
# shellcheck source=tests/netlab/roaming.sh
. "$(dirname "$0")/roaming.sh"
command -v dhtnode >/dev/null || lab_skip "no dhtnode"
here=$(dirname "$0")

calm() {
    roam_begin "$work/calm"
    roam_pair portrestricted portrestricted
    lab_net 'router c portrestricted; router d portrestricted'
    roam_connect --interval 20 --for 22
    sleep 2
    roam_rebind rebinding a
    sleep 3
    roam_rebind rebinding b
    sleep 3
    roam_move move a
    sleep 3
    roam_move move b
    sleep 4
    roam_move - a
    roam_move both b
    roam_end
    # The figures are the benchmark's; this machine may be busy.
    python3 "$here/roaming.py" check "$roam_dir" 8000 || {
        roam_show
        exit 1
    }
}

storm() {
    local seed=${ROAM_SEED:-$RANDOM}
    echo "storm: ROAM_SEED=$seed"
    roam_begin "$work/storm"
    roam_pair portrestricted portrestricted
    lab_net 'router c portrestricted; router d fullcone'
    roam_storm 8388608 10 "$seed" 90 || {
        roam_show
        exit 1
    }
    python3 "$here/roaming.py" storm "$roam_dir" 10000 || {
        roam_show
        exit 1
    }
}

work=$(mktemp -d)
(calm)
(storm)
rm -rf "$work"
