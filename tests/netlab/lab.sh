# tests/netlab/lab.sh - a small internet out of network namespaces.
#
# Sourced by bash with `set -euo pipefail`; needs root, ip and nft:
#
#   lab_begin                      exit 77 with the reason if it cannot be made
#   lab_public pub 20.0.0.1        a host on the public segment (20.0.0.0/24)
#   lab_router ra 20.0.0.11 192.168.1 portrestricted
#                                  a router: public address, LAN, kind of NAT
#   lab_host a ra 192.168.1.2      a host behind it
#   lab_in a COMMAND…              run there
#   lab_spawn a LOG COMMAND…       run there in the background; ended by lab_end
#   lab_end                        (an EXIT trap calls it)
#
# 20.0.0.0/24 stands for public addresses; nothing ever leaves the namespaces,
# which have no way out.  Kinds of NAT, in the words of RFC 4787:
#
#   portrestricted   endpoint-independent mapping (ports are preserved),
#                    address and port-dependent filtering: strays are dropped
#                    before they can leave a trace in the connection table
#   symmetric        a random port for every flow; the same filtering
#
# nat_probe.sh proves each kind before a test relies on it.

lab_id=cv$$
lab_pids=()
lab_spaces=()

lab_skip() {
    echo "SKIP: $*"
    exit 77
}

# lab_space NAME: make a namespace with loopback up.
lab_space() {
    ip netns add "$lab_id-$1"
    lab_spaces+=("$lab_id-$1")
    ip -n "$lab_id-$1" link set lo up
}

lab_in() {
    local space=$1
    shift
    ip netns exec "$lab_id-$space" "$@"
}

# lab_spawn SPACE LOG COMMAND…; the pid is in $lab_pid.
lab_spawn() {
    local space=$1 log=$2
    shift 2
    ip netns exec "$lab_id-$space" "$@" >"$log" 2>&1 </dev/null &
    lab_pid=$!
    lab_pids+=("$lab_pid")
}

lab_begin() {
    [ "$(id -u)" = 0 ] || lab_skip "network namespaces need root"
    command -v nft >/dev/null || lab_skip "nft is not installed (nftables)"
    ip netns add "$lab_id-wan" 2>/dev/null ||
        lab_skip "network namespaces cannot be made here"
    lab_spaces+=("$lab_id-wan")
    trap lab_end EXIT
    ip -n "$lab_id-wan" link set lo up
    ip -n "$lab_id-wan" link add br0 type bridge
    ip -n "$lab_id-wan" link set br0 up
}

lab_end() {
    local pid space
    for pid in "${lab_pids[@]}"; do
        kill "$pid" 2>/dev/null || :
    done
    for pid in "${lab_pids[@]}"; do
        wait "$pid" 2>/dev/null || :
    done
    for space in "${lab_spaces[@]}"; do
        ip netns del "$space" 2>/dev/null || :
    done
    lab_pids=()
    lab_spaces=()
}

# lab_wire SPACE DEV OTHER OTHERDEV: a cable between two namespaces.
lab_wire() {
    ip link add "$2" netns "$lab_id-$1" type veth \
        peer name "$4" netns "$lab_id-$3"
    ip -n "$lab_id-$1" link set dev "$2" up
    ip -n "$lab_id-$3" link set dev "$4" up
}

# lab_plug SPACE ADDRESS: onto the public segment, as device wan0.
lab_plug() {
    lab_wire "$1" wan0 wan "$1"
    ip -n "$lab_id-wan" link set dev "$1" master br0
    ip -n "$lab_id-$1" addr add "$2/24" dev wan0
}

lab_public() {
    lab_space "$1"
    lab_plug "$1" "$2"
}

# lab_router NAME PUBLIC LAN-PREFIX KIND
lab_router() {
    local flags=
    lab_space "$1"
    lab_plug "$1" "$2"
    lab_in "$1" sysctl -q -w net.ipv4.ip_forward=1
    ip -n "$lab_id-$1" link add lan0 type bridge
    ip -n "$lab_id-$1" link set lan0 up
    ip -n "$lab_id-$1" addr add "$3.1/24" dev lan0
    case $4 in
    none) return ;;
    portrestricted) flags= ;;
    symmetric) flags=random,fully-random ;;
    *)
        echo "lab: no such kind of NAT: $4" >&2
        return 1
        ;;
    esac
    lab_in "$1" nft -f - <<NFT
table ip nat {
    chain out {
        type nat hook postrouting priority srcnat
        oifname "wan0" masquerade $flags
    }
}
table ip guard {
    chain in {
        type filter hook input priority filter
        iifname "wan0" ct state new drop
    }
    chain through {
        type filter hook forward priority filter
        iifname "wan0" ct state new drop
    }
}
NFT
}

# lab_host NAME ROUTER ADDRESS
lab_host() {
    lab_space "$1"
    lab_wire "$1" eth0 "$2" "$1"
    ip -n "$lab_id-$2" link set dev "$1" master lan0
    ip -n "$lab_id-$1" addr add "$3/24" dev eth0
    ip -n "$lab_id-$1" route add default via "${3%.*}.1"
}

# lab_wait SECONDS COMMAND…: until it succeeds.
lab_wait() {
    local tries=$(($1 * 20))
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.05
    done
}
