#!/usr/bin/env bash
# Two nodes reach each other by TCP where UDP does not get through, past
# gateways that drop, accept or reject what they do not expect; and a
# connection goes from UDP to TCP and back without losing a byte.
set -euo pipefail
# shellcheck source=tests/netlab/lab.sh
. "$(dirname "$0")/lab.sh"

bin=$COVIM_BUILD/tests
servers=(20.0.1.1:3478 20.0.1.2:3478)

# probe NAME JOINER SHARER MS: both in the background.
probe() {
    local name=$1 j=$2 s=$3 ms=$4
    rm -f "$work/$name".*
    lab_spawn "$j" "$work/$name.j.log" "$bin/punchprobe" joiner \
        "$work/$name.j" "$work/$name.s" "$ms" "${servers[@]}"
    pids+=("$lab_pid")
    lab_spawn "$s" "$work/$name.s.log" "$bin/punchprobe" sharer \
        "$work/$name.s" "$work/$name.j" "$ms" "${servers[@]}"
    pids+=("$lab_pid")
}

finish() {
    for pid in "${pids[@]}"; do
        wait "$pid" || :
    done
    pids=()
}

begin() { # TOPOLOGY
    lab_begin delay=25
    work=$lab_dir
    lab_net "public stun addresses=2
$1"
    lab_spawn stun "$work/stun.log" "$bin/stunprobe" "${servers[@]}"
    sleep 0.2
    pids=()
}

# Every pair of a side without UDP and one whose TCP mapping is endpoint-
# independent, side by side.
pairs() { # STRAYS
    begin "side b1 udpblocked strays=$1; side n none
           side b2 udpblocked strays=$1; side f fullcone strays=$1
           side b3 udpblocked strays=$1; side r restricted strays=$1
           side b4 udpblocked strays=$1; side p portrestricted strays=$1
           side b5 udpblocked strays=$1; side b6 udpblocked strays=$1"
    # By then it is known that UDP is blocked.
    export PUNCHPROBE_SETTLE=2500 PUNCHPROBE_LATE=200
    probe none b1 n 6000
    probe fullcone f b2 6000
    probe restricted b3 r 6000
    probe portrestricted p b4 6000
    probe udpblocked b5 b6 6000
    finish
    for name in none fullcone restricted portrestricted udpblocked; do
        expect "udpblocked and $name ($1) connect by TCP" \
            grep -q "^connected tcp " "$work/$name.j.log"
        expect "all echoes are right" \
            eval "! grep -q '^wrong' '$work/$name.j.log'"
        expect "it ticks" grep -qE "ticks [0-9]{2,}$" "$work/$name.j.log"
        echo "udpblocked, $name, $1: $(grep '^connected' "$work/$name.s.log")"
    done
    unset PUNCHPROBE_SETTLE PUNCHPROBE_LATE
    lab_end
}

for strays in drop accept reject; do
    (pairs $strays)
done

# Without UDP all of a sudden, and with it again.
fall_back() {
    begin "side j portrestricted strays=accept; side s portrestricted"
    probe back j s 34000
    expect "they connect by UDP" \
        lab_wait 10 grep -q "^connected ipv4" "$work/back.j.log"
    sleep 1
    lab_in j-nat nft -f - <<NFT
table inet closed {
    chain through {
        type filter hook forward priority -10
        meta l4proto udp drop
    }
}
NFT
    expect "TCP takes over" lab_wait 8 grep -q "^path tcp" "$work/back.j.log"
    expect "at the other end, too" \
        lab_wait 8 grep -q "^path tcp" "$work/back.s.log"
    sleep 1
    lab_in j-nat nft delete table inet closed
    expect "UDP is found again" lab_wait 20 sh -c \
        "sed '1,/^path tcp/d' '$work/back.j.log' | grep -q '^path ipv4'"
    finish
    expect "no echo was lost, doubled or wrong" \
        eval "! grep -q '^wrong' '$work/back.j.log'"
    gap=$(sed -n 's/^gap \([0-9]*\).*/\1/p' "$work/back.j.log")
    ticks=$(sed -n 's/^gap .* ticks \([0-9]*\)$/\1/p' "$work/back.j.log")
    expect "ticks go on" [ "$ticks" -gt 800 ]
    echo "UDP, TCP, UDP: longest wait $gap ms, $ticks ticks"
    lab_end
}
(fall_back)
