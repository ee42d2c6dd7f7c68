#!/usr/bin/env bash
# Every kind of NAT with every other one: is there a direct path, which, and
# how soon does the first byte come back?  See --help.
set -euo pipefail

kinds=(none fullcone restricted portrestricted symmetric symmetric-seq cgn
    udpblocked tcp443only)

usage() {
    cat <<TEXT
Usage: scripts/bench.sh natmatrix [OPTION…] [CELL…]

Two hosts, a network of every kind before either, 25 ms between them and
whatever else is public (RTT 50 ms); eight DHT nodes; two public hosts that run
"covim stun", one of them with two addresses.  Both peers' nodes are up before
the clock starts.  One side serves ("covim echo"), the other dials; both ways.

  CELL is KIND:KIND, or KIND for that kind with every other one; all without.
  Kinds: ${kinds[*]}

  --gate           with a gate on one more public host (100 ms from peer to
                   peer over it): both are linked to it, and the dialling side
                   has the other's pointer, before the clock starts
  --cold           with --gate: the clock starts with the dialling process;
                   cases end with ", cold"
  --jobs N         N labs side by side, which share the cells      (1)
  --quick          the main pairs, once each way, in about a minute
  --runs N         runs each way and cell                            (10)
  --strays HOW     drop, accept or reject: what gateways do with stray
                   packets; all: drop for every cell, the others for pairs of
                   none, cones and cgn, and those with udpblocked    (drop)
  --tokens         carry the two tokens by hand in every cell
  --wait S         so long, from when there are two to when it is added  (0)
  --one-way        only the first kind dials
  --busy N         others begin N flows a second through each NAT    (0)
  --option OPTION  one more for each router, e.g. hairpin=yes (repeat)
  --segment SET    of the public segment, e.g. loss=0.05 (repeat)
  --timeout S      of one dial                                       (40)
  --keep DIR       leave all logs there

Metrics of each case "A x B" (with ", accept" or ", reject" if that is how
strays fare, and ", busy N"): direct_share and connected_share of the runs; echo_ms (median)
and echo_p95_ms from the dial to the first byte echoed; direct_ms (median) to
the first path proved; packets (median) that both sent to get there, checks and
handshake; told_ms (median) from the peer's answer to the word that there is no
way, where there is none and it was said in time.  Where a side has no UDP the
two tokens are carried by hand, times count from the second one, and a dial is
given up after 15 s; not so with --gate, where all are found by key, and a dial
is given up after 20 s.  Needs root, nft, dhtnode, /dev/net/tun.
TEXT
}

runs=10 strays=drop ways=2 timeout=40 keep='' quick='' tokens='' wait=0
gate='' cold='' jobs=1 busy=0
options=() segment=() cells=()
number() {
    [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || {
        echo "$1 takes a number, not \"${2:-}\"" >&2
        exit 2
    }
}
is_kind() {
    [[ " ${kinds[*]} " = *" $1 "* ]]
}
while [ $# -gt 0 ]; do
    case $1 in
    --help | -h)
        usage
        exit 0
        ;;
    --runs | --timeout | --wait | --jobs | --busy)
        number "$1" "${2:-}"
        declare "${1#--}=$2"
        shift
        ;;
    --strays)
        strays=${2:-}
        case $strays in drop | accept | reject | all) ;; *)
            echo "--strays takes drop, accept, reject or all" >&2
            exit 2
            ;;
        esac
        shift
        ;;
    --option)
        options+=("${2:?--option takes one}")
        shift
        ;;
    --segment)
        segment+=("${2:?--segment takes KEY=VALUE}")
        shift
        ;;
    --keep)
        keep=${2:?--keep takes a folder}
        shift
        ;;
    --gate) gate=yes ;;
    --cold) gate=yes cold=yes ;;
    --one-way) ways=1 ;;
    --tokens) tokens=yes ;;
    --quick) quick=yes runs=1 ;;
    *:*)
        if ! is_kind "${1%%:*}" || ! is_kind "${1#*:}"; then
            echo "no such cell: $1; kinds: ${kinds[*]}" >&2
            exit 2
        fi
        cells+=("$1")
        ;;
    *)
        is_kind "$1" || {
            usage >&2
            exit 2
        }
        for kind in "${kinds[@]}"; do cells+=("$1:$kind"); done
        ;;
    esac
    shift
done
if [ -n "$quick" ] && [ ${#cells[@]} = 0 ]; then
    cells=(none:portrestricted portrestricted:portrestricted
        fullcone:symmetric portrestricted:symmetric cgn:restricted
        portrestricted:symmetric-seq udpblocked:none)
    [ -z "$gate" ] || cells+=(symmetric:symmetric udpblocked:tcp443only)
fi
[ -z "$gate" ] || [ "$timeout" -le 20 ] || timeout=20
if [ ${#cells[@]} = 0 ]; then
    for ((i = 0; i < ${#kinds[@]}; i++)); do
        for ((k = i; k < ${#kinds[@]}; k++)); do
            cells+=("${kinds[i]}:${kinds[k]}")
        done
    done
fi

# shellcheck source=tests/netlab/lab.sh
. "$COVIM_TOP/tests/netlab/lab.sh"
covim=$COVIM_BUILD/cli/covim
covim_gate=$COVIM_BUILD/gate/covim-gate
work=$(realpath -m "${keep:-$(mktemp -d)}")
mkdir -p "$work"
results=$work/results.jsonl
: >"$results"

say() {
    echo "$*" >&2
}

# --- the lab: one for all cells with the same strays ---

# The gate, which everybody is told of.
lab_gate() {
    local at options=()
    lab_net 'public g'
    at=${lab_ip[g]}:443
    mkdir -m 700 "$lab_dir/gate"
    options=(--key "$lab_dir/gate/key" --listen "$at")
    lab_spawn g "$work/gate$job.log" "$covim_gate" "${options[@]}" --metrics off
    lab_wait 10 test -s "$lab_dir/gate/key"
    world+=(--gate "$(lab_in g "$covim_gate" "${options[@]}" --print-name \
        --name "${lab_ip[g]}")")
}

# Servers, DHT nodes, and everybody's options for them.
lab_world() {
    local i one two
    mkfifo "$lab_dir/never"
    exec 9<>"$lab_dir/never" # a dhtnode ends when its input does
    lab_net 'public p addresses=2; public q'
    one=${lab_ip[p]}
    two=${lab_ip[p]%.1}.2
    lab_spawn p "$work/stun-p$job.log" "$covim" stun --listen "$one:3478" \
        --listen "$one:3479" --listen "$two:3478" --listen "$two:3479"
    lab_spawn q "$work/stun-q$job.log" "$covim" stun --listen "${lab_ip[q]}:3478"
    for i in 1 2 3 4 5 6 7 8; do
        lab_net "public d$i"
        ip netns exec "$lab_id-d$i" dhtnode -p 4222 -b "${lab_ip[d1]}:4222" \
            <&9 >"$work/dht-$i$job.log" 2>&1 &
        lab_pids+=($!)
    done
    world=(--no-lan --bootstrap "${lab_ip[d1]}:4222,${lab_ip[d2]}:4222"
        --stun "$one:3478,$two:3479,${lab_ip[q]}:3478")
    lone=(--no-lan --bootstrap none --stun "${world[4]}")
    [ -z "$gate" ] || lab_gate
    sleep 2 # the DHT nodes find each other
}

# The host of side a or b behind a kind, in $side; made when first wanted.
declare -A side_of=()
find_side() { # a|b KIND STRAYS
    side=${side_of[$1-$2]-}
    [ -z "$side" ] || return 0
    side=$1${#side_of[@]}
    side_of[$1-$2]=$side
    lab_net "side $side $2 strays=$3 ${options[*]}"
    [ "$busy" = 0 ] || [ "$2" = none ] || {
        lab_net "host ${side}o $side-nat"
        lab_spawn "${side}o" "$work/busy-$side.log" python3 \
            "$COVIM_TOP/tests/bench/flows.py" "$busy" "${lab_ip[q]}"
    }
}

# --- one run ---

by_token() {
    [ -z "$gate" ] || return 1
    case $1 in udpblocked | tcp443only) return 0 ;; esac
    return 1
}

# serve NAME SPACE: in the background; its files begin with $work/NAME.
serve() {
    mkdir -m 700 "$lab_dir/$1-s"
    lab_spawn "$2" "$work/$1.serve" timeout $((timeout + 60)) "$covim" echo \
        serve "${world[@]}" --data-dir "$lab_dir/$1-s" --log debug
}

# The same without a DHT, for tokens; what is typed goes to $lab_dir/NAME-in.
serve_by_token() {
    mkdir -m 700 "$lab_dir/$1-s"
    mkfifo "$lab_dir/$1-in"
    # Kept open for writing, or the first token would be the end of its input.
    ip netns exec "$lab_id-$2" timeout $((timeout + 60)) "$covim" echo serve \
        --token "${lone[@]}" --data-dir "$lab_dir/$1-s" --log debug \
        <>"$lab_dir/$1-in" >"$work/$1.serve" 2>&1 &
    lab_pid=$!
    lab_pids+=("$lab_pid")
}

value() { # FILE EVENT MEMBER: of the first such line
    sed -n "/\"event\":\"$2\"/s/.*\"$3\":\"\{0,1\}\([^\",}]*\).*/\1/p" "$1" |
        head -n 1
}

ready=(--warm)
[ -z "$gate" ] || ready=(--found)
[ -z "$cold" ] || ready=()
# What needs longer than that is of no use while somebody waits.
[ -z "$gate" ] || ready+=(--direct 5)

# In the background; the pid is in $lab_pid.
dial_in() { # NAME SPACE OPTION…
    local name=$1 space=$2
    shift 2
    mkdir -m 700 "$lab_dir/$name-d"
    lab_spawn "$space" "$work/$name.dial" timeout $((timeout + 25)) "$covim" \
        echo dial "${ready[@]}" --once --timeout "$timeout" --log debug \
        --data-dir "$lab_dir/$name-d" "$@"
}

# What a run came to, as a line of $results.
record() { # NAME CASE WAY [MEMBER…]
    local name=$1 case=$2 way=$3 result packets
    shift 3
    result=$(grep '"event":"result"' "$work/$name.dial" 2>/dev/null || echo '{}')
    packets=$(value "$work/$name.serve" confirmed packets)
    printf '{"case":"%s","way":"%s","name":"%s","server_packets":%s,%s"dial":%s}\n' \
        "$case" "$way" "$name" "${packets:-0}" "$*" "$result" >>"$results"
}

# dial NAME SPACE CASE WAY: when the server is found.
dial() {
    local name=$1 key
    lab_wait 15 grep -q '"event":"published"' "$work/$name.serve" || {
        say "$name: the server was not published"
        cat "$work/$name.serve" >&2
        record "$name" "$3" "$4" # it counts
        return 0
    }
    key=$(value "$work/$name.serve" listening key)
    dial_in "$name" "$2" "${world[@]}" "$key"
    wait "$lab_pid" || :
    record "$name" "$3" "$4"
}

# The same by tokens: the clock starts when the server has the second one.
dial_by_token() {
    local name=$1 pid token
    lab_wait 15 grep -q '"event":"token"' "$work/$name.serve" || {
        say "$name: the server makes no token"
        cat "$work/$name.serve" >&2
        return 0
    }
    dial_in "$name" "$2" "${lone[@]}" "$(value "$work/$name.serve" token token)"
    pid=$lab_pid
    lab_wait 20 grep -q '"event":"token"' "$work/$name.dial" || {
        say "$name: no second token"
        cat "$work/$name.dial" >&2
    }
    token=$(value "$work/$name.dial" token token)
    sleep "$wait"
    echo "add $token" >"$lab_dir/$name-in"
    # Who has added it is told first that there is no way.
    while kill -0 "$pid" 2>/dev/null; do
        ! grep -q '"event":"token","why"' "$work/$name.serve" ||
            kill "$pid" 2>/dev/null || :
        sleep 0.05
    done
    wait "$pid" 2>/dev/null || :
    record "$name" "$3" "$4" "$(printf '"added":%s,"dialled":%s,"told":%s,' \
        "$(clock "$name.serve" added)" "$(clock "$name.dial" dial)" \
        "$(clock "$name.serve" 'token","why')")"
}

clock() { # FILE EVENT
    local ms
    ms=$(value "$work/$1" "$2" clock_ms)
    echo "${ms:-null}"
}

# cell A B STRAYS: `runs` each way; servers are started ahead.
cell() {
    local timeout=$timeout
    local a=$1 b=$2 how=$3 case="$1 x $2" i n way ahead=3 total pids=() sides
    [ "$how" = drop ] || case+=", $how"
    [ -z "$cold" ] || case+=", cold"
    [ "$busy" = 0 ] || case+=", busy $busy"
    local serve=serve dial=dial
    if [ -n "$tokens" ] || by_token "$a" || by_token "$b"; then
        serve=serve_by_token dial=dial_by_token
        # By hand the host waits for minutes: what is not there by now is not
        # worth the time of a whole row.
        timeout=$((wait + 15))
        [ "$wait" = 0 ] || ahead=1
    fi
    find_side a "$a" "$how"
    sides=("$side")
    find_side b "$b" "$how"
    sides+=("$side")
    total=$((runs * ways))
    for ((i = -ahead; i < total; i++)); do
        n=$((i + ahead)) # its server is started
        if [ $n -lt $total ]; then
            $serve "$a-$b-$how-$n" "${sides[1 - n % ways]}"
            pids[n]=$lab_pid
        fi
        [ $i -ge 0 ] || continue
        way=$((i % ways))
        $dial "$a-$b-$how-$i" "${sides[way]}" "$case" "${sides[way]:0:1}"
        kill "${pids[i]}" 2>/dev/null || :
    done
}

wants_strays() { # A B: are they measured with accept and reject, too?
    local kind
    for kind in "$1" "$2"; do
        case $kind in symmetric* | tcp443only) return 1 ;; esac
    done
}

# One lab and what it measures: of all cells each JOBSth, beginning with JOB.
lab() { # STRAYS JOB
    local how=$1 i pair
    job=$2
    results=$work/results$job.jsonl # rows are of one lab
    lab_begin delay=25 "${segment[@]}" >&2
    trap 'lab_end' EXIT
    lab_world
    for ((i = job; i < ${#cells[@]}; i += jobs)); do
        pair=${cells[i]}
        [ "$how" = drop ] || [ "$strays" != all ] ||
            wants_strays "${pair%%:*}" "${pair#*:}" || continue
        cell "${pair%%:*}" "${pair#*:}" "$how"
        python3 "$COVIM_TOP/tests/bench/natmatrix.py" row "$results" >&2
    done
}

labs() { # STRAYS
    local i pids=() failed=''
    for ((i = 0; i < jobs; i++)); do
        (lab "$1" "$i") &
        pids+=($!)
    done
    trap 'kill "${pids[@]}" 2>/dev/null || :; wait; exit 143' TERM INT HUP
    for i in "${pids[@]}"; do
        wait "$i" || failed=$?
    done
    [ -z "$failed" ] || exit "$failed"
}

case $strays in
all) labs drop && labs accept && labs reject ;;
*) labs "$strays" ;;
esac
cat "$work"/results[0-9]*.jsonl >"$results"
python3 "$COVIM_TOP/tests/bench/natmatrix.py" all "$results"
[ -n "$keep" ] || rm -rf "$work"
