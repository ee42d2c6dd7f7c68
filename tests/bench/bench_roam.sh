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
               by turns at random (see --mib, --events)
    swaps      a transfer, while the direct path drops all packets and passes
               them again, by turns: a gate carries it meanwhile
    deaths     the same while an echo goes out every 50 ms
    warm       idle for five minutes on a direct path, the gate beside it
  all but storm, swaps, warm without

  --runs N     events of each sort                                  (5)
  --mib N      storm, swaps: there and back                         (256, 1024)
  --events N   storm, swaps: so many, evenly over the bytes; deaths (100, 1000,
               50)
  --seed N     storm: what happens when; printed
  --pair KIND,KIND   storm: what the two are behind     (portrestricted, both)
  --keep DIR   leave all logs there

Metrics of each case: resume_ms (median), resume_max_ms: from the event (of a
move: from when the new network is there) to the next echo; back_share: of
those after which one came within 15 s.  Of storm: ok (all bytes were right),
seconds, the longest gap between two reports, how many lasted over 1, 2 and
10 s, and resume_max_ms, the longest time in one without a further event; of
swaps also the changes, as the dialling side saw them.  Of deaths: delay_ms
(median), delay_max_ms, what the worst echo of each cut (of each return:
upgrades) took longer than usual; 400 ms are the most.  Of warm:
gate_bytes_an_hour, with all headers.  Dead paths are asked every 200 ms there,
instead of after 5 to 300 s, and the gate takes more than a client may send.
Needs root, nft, conntrack, dhtnode, /dev/net/tun.
TEXT
}

runs=5 mib='' events='' seed=$RANDOM keep='' cases=()
pair=portrestricted,portrestricted
while [ $# -gt 0 ]; do
    case $1 in
    --help | -h)
        usage
        exit 0
        ;;
    --runs | --mib | --events | --seed)
        [[ ${2:-} =~ ^[0-9]+$ ]] || {
            echo "$1 takes a number, not \"${2:-}\"" >&2
            exit 2
        }
        declare "${1#--}=$2"
        shift
        ;;
    --pair)
        [[ ${2:-} =~ ^[a-z-]+,[a-z-]+$ ]] || {
            echo "--pair takes two kinds of NAT, as fullcone,symmetric," \
                "not \"${2:-}\"" >&2
            exit 2
        }
        pair=$2
        shift
        ;;
    --keep)
        keep=${2:?--keep takes a folder}
        shift
        ;;
    none | fullcone | restricted | portrestricted | cgn | symmetric | \
        symmetric-seq | move | both | storm | swaps | deaths | warm)
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
    cases=(none fullcone restricted portrestricted cgn symmetric symmetric-seq
        move both deaths)

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
    # Birthdays are six in half a minute (CV_NET_RESCUES).
    local pause=3
    case $case in symmetric*)
        pause=15 round=31
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
    roam_pair "${pair%,*}" "${pair#*,}"
    lab_net 'router c portrestricted; router d fullcone'
    roam_storm $((${mib:-256} << 20)) "${events:-100}" "$seed" 1200
    python3 "$COVIM_TOP/tests/netlab/roaming.py" storm "$roam_dir" >>"$results"
}

# A line of results is worth having of a failure, too.
results_of() { # WORD…: of roaming.py
    python3 "$COVIM_TOP/tests/netlab/roaming.py" "$@" >>"$results" || failed=1
}

swaps() {
    roam_begin "$work/swaps"
    roam_gate_pair
    roam_swaps $((${mib:-1024} << 20)) "${events:-1000}" 1700 || failed=1
    results_of swaps "$roam_dir" "${events:-1000}"
    return $failed
}

deaths() {
    roam_begin "$work/deaths"
    roam_gate_pair
    roam_deaths "${events:-50}" || failed=1
    results_of deaths "$roam_dir"
    return $failed
}

warm() {
    local bytes
    roam_begin "$work/warm"
    roam_gate_pair
    bytes=$(roam_warm 300) || return 1
    echo "{\"bench\": \"roam\", \"case\": \"warm\"," \
        "\"metric\": \"gate_bytes_an_hour\", \"value\": $bytes}" >>"$results"
}

failed=0
for case in "${cases[@]}"; do
    case $case in
    storm) (storm) ;;
    swaps | deaths | warm) ("$case") || failed=1 ;;
    *) (one "$case") ;;
    esac
done
cat "$results"
[ -n "$keep" ] || rm -rf "$work"
exit $failed
