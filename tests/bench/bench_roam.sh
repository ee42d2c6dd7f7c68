#!/usr/bin/env bash
# The network under a connection changes: how soon does it go on, and is
# anything lost or repeated?  See --help.
set -euo pipefail

usage() {
    cat <<TEXT
Usage: scripts/bench.sh roam [OPTION…] [CASE…]

Two hosts behind NATs, 25 ms between them (RTT 50 ms), four DHT nodes, STUN
servers.  One dials the other ("covim echo") and sends an echo every 20 ms;
every byte that comes back is compared with what was sent.

  CASE is one of
    KIND       both sides: KIND and a port-restricted NAT; each side's NAT
               forgets its mappings in turn; KIND: none fullcone restricted
               portrestricted cgn symmetric symmetric-seq
    move       each side in turn moves to another LAN: new address, other NAT
    both       both move at once, and find each other through the DHT
    storm      a transfer, while a NAT forgets its mappings or a host moves,
               by turns at random (see --bytes, --events)
  all but symmetric, symmetric-seq and storm without

  --runs N     events of each sort                                  (5)
  --bytes N    storm: there and back                                (268435456)
  --events N   storm: so many, evenly over the bytes                (100)
  --seed N     storm: what happens when; printed
  --keep DIR   leave all logs there

Metrics of each case: resume_ms (median), resume_max_ms: from the event (of a
move: from when the new network is there) to the next echo; back_share: of
those after which one came within 15 s.  Of storm: ok (all bytes were right),
seconds, and the longest gap between two reports.  Needs root, nft, conntrack,
dhtnode, /dev/net/tun.
TEXT
}

runs=5 bytes=268435456 events=100 seed=$RANDOM keep='' cases=()
while [ $# -gt 0 ]; do
    case $1 in
    --help | -h)
        usage
        exit 0
        ;;
    --runs | --bytes | --events | --seed)
        [[ ${2:-} =~ ^[0-9]+$ ]] || {
            echo "$1 takes a number, not \"${2:-}\"" >&2
            exit 2
        }
        declare "${1#--}=$2"
        shift
        ;;
    --keep)
        keep=${2:?--keep takes a folder}
        shift
        ;;
    none | fullcone | restricted | portrestricted | cgn | symmetric | \
        symmetric-seq | move | both | storm)
        cases+=("$1")
        ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
    shift
done
[ ${#cases[@]} -gt 0 ] ||
    cases=(none fullcone restricted portrestricted cgn move both)

work=${keep:-$(mktemp -d)}
mkdir -p "$work"
# shellcheck source=tests/netlab/roaming.sh
. "$COVIM_TOP/tests/netlab/roaming.sh"
results=$work/results.jsonl
: >"$results"

# Every event of one connection; the pauses let it settle.
one() { # CASE
    local case=$1 i round=8
    [ "$case" != both ] || round=13
    # A birthday a minute is for connections that have lost their path.
    local pause=3
    case $case in symmetric*)
        pause=62 round=125
        ;;
    esac
    roam_begin "$work/$case"
    case $case in
    move | both) roam_pair portrestricted portrestricted ;;
    *) roam_pair "$case" portrestricted ;;
    esac
    lab_net 'router c portrestricted; router d portrestricted'
    roam_connect --interval 20 --for $((runs * round + 8))
    for ((i = 0; i < runs; i++)); do
        case $case in
        move)
            sleep 3
            roam_move dialler a
            sleep 3
            roam_move server b
            ;;
        both)
            sleep 10
            roam_move - a
            roam_move both b
            ;;
        *)
            sleep "$pause"
            [ "$case" = none ] || roam_rebind dialler a
            sleep "$pause"
            roam_rebind server b
            ;;
        esac
    done
    sleep 8
    roam_end
    python3 "$COVIM_TOP/tests/netlab/roaming.py" resumes "$case" \
        "$roam_dir" >>"$results"
}

storm() {
    roam_begin "$work/storm"
    echo "storm: seed $seed" >&2
    roam_pair portrestricted portrestricted
    lab_net 'router c portrestricted; router d fullcone'
    roam_storm "$bytes" "$events" "$seed" 1200
    python3 "$COVIM_TOP/tests/netlab/roaming.py" storm "$roam_dir" >>"$results"
}

for case in "${cases[@]}"; do
    if [ "$case" = storm ]; then (storm); else (one "$case"); fi
done
cat "$results"
[ -n "$keep" ] || rm -rf "$work"
