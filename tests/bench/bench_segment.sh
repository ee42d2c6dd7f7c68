#!/usr/bin/env bash
# What the public segment of the net lab carries, and how exactly it delays.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: scripts/bench.sh segment [RATE…]

  RATE  sent, delivered   datagrams of 100 bytes a second, for three seconds
        p50_ms, p99_ms, max_ms
                          one way; 25 is what was asked for
        cpu_percent       of the segment

RATE is 100, 1000, 10000, 50000 and 100000 if nothing is said.  Needs root.
TEXT
}
case ${1-} in
-h | --help)
    usage
    exit 0
    ;;
esac
# shellcheck source=tests/netlab/lab.sh
. "$(dirname "$0")/../netlab/lab.sh"

flow=$COVIM_BUILD/tests/flow

result() { # CASE METRIC VALUE
    echo "{\"bench\":\"segment\",\"case\":\"$1\",\"metric\":\"$2\",\"value\":$3}"
}

field() {
    sed -n "s/.*\"$1\":\([0-9.]*\).*/\1/p" "$2"
}

ticks() {
    awk '{ print $14 + $15 }' "/proc/$segment/stat"
}

lab_begin delay=25
segment=$lab_pid
lab_net 'public a; public b'
[ $# -gt 0 ] || set -- 100 1000 10000 50000 100000
printf '%10s %10s %10s %8s %8s %8s %6s\n' rate sent delivered p50 p99 max cpu >&2
for rate; do
    rm -f "$lab_dir/ready"
    lab_in b "$flow" receive "${lab_ip[b]}:5000" 500 >"$lab_dir/in" \
        2>"$lab_dir/ready" &
    receiver=$!
    lab_wait 5 grep -q ready "$lab_dir/ready"
    before=$(ticks)
    lab_in a "$flow" send "${lab_ip[a]}" "${lab_ip[b]}:5000" "$rate" \
        $((3 * rate)) >"$lab_dir/out"
    cpu=$((($(ticks) - before) / 3))
    wait $receiver
    sent=$(field rate "$lab_dir/out")
    delivered=$(($(field packets "$lab_dir/in") / 3))
    result "$rate" sent "$sent"
    result "$rate" delivered "$delivered"
    for metric in p50_ms p99_ms max_ms; do
        result "$rate" $metric "$(field $metric "$lab_dir/in")"
    done
    result "$rate" cpu_percent "$cpu"
    printf '%10s %10s %10s %8s %8s %8s %6s\n' "$rate" "$sent" "$delivered" \
        "$(field p50_ms "$lab_dir/in")" "$(field p99_ms "$lab_dir/in")" \
        "$(field max_ms "$lab_dir/in")" "$cpu" >&2
done
