#!/usr/bin/env bash
# Every plan on real NATs: two nodes of transport/ that hand their records over
# by files, a knock of 100 ms between them, 25 ms one way.
#
#     a ── NAT of a kind ──┐                       ┌── NAT of a kind ── b
#                          ├── the public segment ─┤
#                          p (STUN on two addresses and two ports), q (STUN)
#
#   punch_kinds.sh [RUNS [JOINER:SHARER[:STRAYS] …]]
#
# PUNCHPROBE_LATE: the knock takes so many ms, and so does the answer (100).
set -euo pipefail
# shellcheck source=tests/netlab/lab.sh
. "$(dirname "$0")/lab.sh"

bin=$COVIM_BUILD/tests
runs=${1:-1}
shift || :
[ $# -gt 0 ] || set -- portrestricted:portrestricted:accept \
    portrestricted:portrestricted:reject portrestricted:symmetric \
    symmetric:portrestricted symmetric-seq:portrestricted \
    portrestricted:symmetric-seq symmetric:none none:symmetric
bad=0

one() ( # JOINER SHARER STRAYS
    failed=0
    lab_begin delay=25
    lab_net "public p addresses=2; public q
             side a $1 strays=$3; side b $2 strays=$3"
    p1=${lab_ip[p]}
    p2=${p1%.*}.2
    lab_spawn p "$lab_dir/stun.log" "$bin/stunprobe" "$p1:3478" "$p1:3479" \
        "$p2:3478" "$p2:3479"
    lab_spawn q "$lab_dir/stun2.log" "$bin/stunprobe" "${lab_ip[q]}:3478"
    export PUNCHPROBE_LATE=${PUNCHPROBE_LATE:-100} PUNCHPROBE_SETTLE=${PUNCHPROBE_SETTLE:-1000}
    for role in joiner sharer; do
        [ $role = joiner ] && who=a me=j it=s || who=b me=s it=j
        lab_spawn $who "$lab_dir/$me.log" "$bin/punchprobe" $role \
            "$lab_dir/$me.rec" "$lab_dir/$it.rec" "${PUNCH_TIME:-9000}" \
            "$p1:3478" "${lab_ip[q]}:3478"
        [ $role = joiner ] && j=$lab_pid || s=$lab_pid
    done
    wait "$j" || :
    kill "$s" 2>/dev/null || :
    wait "$s" || :
    if ! grep -qs '^connected' "$lab_dir/j.log"; then
        failed=1
        echo "$1 x $2, strays $3: not connected"
        tail -n 30 "$lab_dir"/[js].log
    else
        echo "$1 x $2, strays $3: $(grep '^connected' "$lab_dir/j.log")"
    fi
    lab_end
    exit "$failed"
)

for cell in "$@"; do
    IFS=: read -r joiner sharer strays <<<"$cell:drop"
    for ((i = 0; i < runs; i++)); do
        one "$joiner" "$sharer" "${strays%%:*}" || bad=$((bad + 1))
    done
done
[ $bad = 0 ] || exit 1
