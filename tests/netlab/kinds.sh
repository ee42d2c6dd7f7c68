#!/usr/bin/env bash
# Each kind of NAT of lab.sh is what it says (RFC 5780's mapping and filtering
# tests), seen from a host behind it:
#
#     pub (20.0.0.1, STUN on two ports) ── wan ── router KIND ── host
set -euo pipefail
# shellcheck source=tests/netlab/lab.sh
. "$(dirname "$0")/lab.sh"

probe=$COVIM_BUILD/tests/natprobe
covim=$COVIM_BUILD/cli/covim
work=$(mktemp -d)

lab_begin
trap 'lab_end; rm -rf "$work"' EXIT
lab_public pub 20.0.0.1
lab_spawn pub "$work/stun.log" "$covim" stun \
    --listen 20.0.0.1:3478 --listen 20.0.0.1:3479
lab_router cone 20.0.0.11 192.168.1 portrestricted
lab_router sym 20.0.0.12 192.168.2 symmetric
lab_host a cone 192.168.1.2
lab_host b sym 192.168.2.2
lab_wait 5 lab_in a "$probe" map 20.0.0.1:3478

# mapping HOST: eim if both servers see one address, edm if not.
mapping() {
    lab_in "$1" "$probe" map 20.0.0.1:3478 20.0.0.1:3479 | sort -u |
        awk 'END { print NR == 1 ? "eim" : "edm" }'
}

# filtered HOST: does a datagram from another port of pub get in?
filtered() {
    local mapped
    lab_in "$1" "$probe" listen 20.0.0.1:3478 1000 >"$work/$1" &
    local listener=$!
    lab_wait 5 grep -q : "$work/$1"
    mapped=$(head -n 1 "$work/$1")
    lab_in pub "$probe" send "$mapped"
    wait "$listener"
    grep -q '^strays 0$' "$work/$1" && echo filtered || echo open
}

check() {
    if [ "$2" != "$3" ]; then
        echo "$1 is $2, not $3"
        exit 1
    fi
    echo "$1 is $2"
}

check "the mapping of portrestricted" "$(mapping a)" eim
check "the mapping of symmetric" "$(mapping b)" edm
check "portrestricted towards strays" "$(filtered a)" filtered
check "symmetric towards strays" "$(filtered b)" filtered
