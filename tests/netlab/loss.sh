#!/usr/bin/env bash
# A bad segment: two ends behind NATs find each other at 5 % loss, reordering and
# 100 ms one way; and at 20 % a connection lives, and what goes through it is
# right.  LOSS_RUNS=20 LOSS_SECONDS=30 for more.
set -euo pipefail
# shellcheck source=tests/netlab/roaming.sh
. "$(dirname "$0")/roaming.sh"
command -v dhtnode >/dev/null || lab_skip "no dhtnode"
runs=${LOSS_RUNS:-2} seconds=${LOSS_SECONDS:-15}

work=$(mktemp -d)
roam_begin "$work"
trap 'lab_end; rm -rf "$work"' EXIT
roam_pair portrestricted portrestricted
sleep 1
lab_wan set delay=100 loss=0.05 reorder=0.1 hold=30

for ((i = 1; i <= runs; i++)); do
    rm -f "$work/serve" "$work/dial"
    roam_connect --for 1
    roam_end || {
        roam_show
        exit 1
    }
    echo "5 % loss, $i: $(grep -o '"echo_ms":[0-9]*' "$work/dial")"
    kill "${lab_pids[-2]}"
    rm -rf "$lab_dir/s" "$lab_dir/d"
done

rm -f "$work/serve" "$work/dial"
roam_connect --for "$seconds" --interval 100
lab_wan set loss=0.2
roam_end || {
    roam_show
    exit 1
}
if grep -q '"event":"closed"' "$work/dial"; then
    echo "FAILED: it did not live at 20 % loss"
    roam_show
    exit 1
fi
echoes=$(sed -n '/"event":"result"/s/.*"echoes":\([0-9]*\).*/\1/p' "$work/dial")
[ "$echoes" -ge "$seconds" ] || {
    echo "FAILED: $echoes echoes in $seconds s"
    roam_show
    exit 1
}
echo "20 % loss: $echoes echoes in $seconds s, all right"
