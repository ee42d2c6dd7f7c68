# tests/netlab/lab.sh - a small internet out of network namespaces.
#
# Sourced by bash with `set -euo pipefail`; needs root, ip, nft and /dev/net/tun.
# README.md beside it is the manual; the whole of a test may be
#
#   lab_begin delay=25             exit 77 with the reason if it cannot be made
#   lab_net 'public p addresses=2  # two hosts, a NAT of a kind before one
#            router r symmetric strays=accept
#            host a r'
#   lab_spawn p "$work/log" covim stun --listen "${lab_ip[p]}:3478"
#   lab_in a COMMAND…
#
# Every router and public host has a TUN device, wan0, that ends in one program:
# the segment, which is the internet between them (segment.c).  Addresses look
# public; nothing ever leaves the namespaces, which have no way out.

# shellcheck shell=bash
# shellcheck source=tests/netlab/nat.sh
. "$(dirname "${BASH_SOURCE[0]}")/nat.sh"

lab_pids=()
lab_spaces=()
lab_made=0                            # things of lab_net that got a number
declare -A lab_ip lab_ip6             # NAME -> its (first) public address
declare -A lab_routes                 # NAME -> its default routes, for lab_up
declare -A lab_host_router            # host -> its router
declare -A lab_lan lab_lan6           # router -> beginning of its LAN's addresses
declare -A lab_hosts_of               # router -> last byte of its newest host

lab_skip() {
    echo "SKIP: $*"
    exit 77
}

# --- processes and namespaces ---

# lab_space NAME: make a namespace with loopback up.
lab_space() {
    ip netns add "$lab_id-$1"
    lab_spaces+=("$lab_id-$1")
    ip -n "$lab_id-$1" link set lo up
}

# With `&`, $! is a shell that waits for the command, not the command.
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

# expect WHAT TEST…: it holds, or the ends of all *.log in $lab_logs ($lab_dir)
# are shown and that is it.
expect() {
    local what=$1 log
    shift
    "$@" && return
    echo "FAILED: $what"
    for log in "${lab_logs:-$lab_dir}"/*.log; do
        echo "--- $log"
        tail -n 40 "$log" | cut -c1-300
    done
    exit 1
}

# lab_begin [OPTION=VALUE…]: of the segment, as for lab_wan set.  LAB_SEED is
# the seed of what happens by chance there.
lab_begin() {
    [ "$(id -u)" = 0 ] || lab_skip "network namespaces need root"
    command -v nft >/dev/null || lab_skip "nft is not installed (nftables)"
    [ -e /dev/net/tun ] || lab_skip "there is no /dev/net/tun"
    lab_id=cv$BASHPID
    lab_pids=() lab_spaces=() lab_made=0 lab_ip=() lab_ip6=() lab_routes=()
    lab_host_router=() lab_hosts_of=() lab_lan=() lab_lan6=()
    lab_nat_of=() lab_shift=()
    lab_sweep
    ip netns add "$lab_id-wan" 2>/dev/null ||
        lab_skip "network namespaces cannot be made here"
    lab_spaces+=("$lab_id-wan")
    lab_dir=$(mktemp -d)
    trap lab_end EXIT
    trap 'exit 143' TERM INT HUP
    lab_seed=${LAB_SEED:-$((RANDOM * 32768 + RANDOM))}
    lab_spawn wan "$lab_dir/segment.log" "$COVIM_BUILD/tests/segment" run \
        "$lab_dir/wan" "$lab_seed"
    until [ -S "$lab_dir/wan" ]; do
        kill -0 "$lab_pid" 2>/dev/null ||
            lab_skip "no segment: $(cat "$lab_dir/segment.log")"
        sleep 0.005
    done
    [ $# = 0 ] || lab_wan set "$@"
    echo "lab $lab_id, seed $lab_seed${*:+, $*}" >&2
}

# lab_wan WORD…: tell the segment; see segment.c.
lab_wan() {
    "$COVIM_BUILD/tests/segment" "$lab_dir/wan" "$@"
}

# What labs left behind that were killed.
lab_sweep() {
    local space pid of
    for space in /run/netns/cv*-*; do
        [ -e "$space" ] || continue
        space=${space##*/}
        pid=${space%%-*} pid=${pid#cv}
        case $pid in *[!0-9]* | '') continue ;; esac
        kill -0 "$pid" 2>/dev/null && continue
        for of in $(ip netns pids "$space" 2>/dev/null); do
            kill "$of" 2>/dev/null || :
        done
        ip netns del "$space" 2>/dev/null || :
    done
}

lab_end() {
    local pid space tries=60
    trap '' TERM INT HUP # once is enough
    for pid in "${lab_pids[@]}"; do
        kill "$pid" 2>/dev/null || :
    done
    for pid in "${lab_pids[@]}"; do
        while kill -0 "$pid" 2>/dev/null && [ $tries -gt 0 ]; do
            tries=$((tries - 1))
            sleep 0.05
        done
        kill -9 "$pid" 2>/dev/null || :
        wait "$pid" 2>/dev/null || :
    done
    for space in "${lab_spaces[@]}"; do
        ip netns del "$space" 2>/dev/null || :
    done
    lab_pids=()
    lab_spaces=()
    [ -z "${lab_dir-}" ] || rm -rf "$lab_dir"
    trap - TERM INT HUP
}

# --- cables ---

# lab_wire SPACE DEV OTHER OTHERDEV: a cable between two namespaces.
lab_wire() {
    ip link add "$2" netns "$lab_id-$1" type veth \
        peer name "$4" netns "$lab_id-$3"
    ip -n "$lab_id-$1" link set dev "$2" up
    ip -n "$lab_id-$3" link set dev "$4" up
}

# lab_route SPACE ROUTE…: a default route, restored by lab_up.
lab_route() {
    local space=$1
    shift
    ip -n "$lab_id-$space" "$@"
    lab_routes[$space]+="$*"$'\n'
}

# lab_plug SPACE ADDRESS…: onto the public segment, as device wan0.
lab_plug() {
    local space=$1 address
    shift
    lab_wan attach "$space" "$lab_id-$space" wan0 "$@"
    lab_routes[$space]=
    lab_in "$space" sysctl -q -w net.ipv6.conf.wan0.keep_addr_on_down=1
    ip -n "$lab_id-$space" link set dev wan0 mtu 1500 txqueuelen 5000 up
    for address in "$@"; do
        case $address in
        */*) ;; # of the networks behind it
        *:*)
            ip -n "$lab_id-$space" addr add "$address/128" dev wan0 nodad
            [ -n "${lab_ip6[$space]-}" ] ||
                lab_route "$space" -6 route add default dev wan0
            : "${lab_ip6[$space]:=$address}"
            ;;
        *)
            ip -n "$lab_id-$space" addr add "$address/32" dev wan0
            [ -n "${lab_ip[$space]-}" ] ||
                lab_route "$space" route add default dev wan0
            : "${lab_ip[$space]:=$address}"
            ;;
        esac
    done
}

# lab_public NAME ADDRESS…
lab_public() {
    lab_space "$1"
    lab_plug "$@"
}

# --- LANs ---

# lab_router NAME ADDRESS LAN-PREFIX KIND [OPTION…], see README.md.
lab_router() {
    local name=$1 address=$2 lan=$3 kind=$4 option key
    local via='' hairpin=no strays=drop udp_timeout=default ipv6='' firewall=yes
    shift 4
    for option; do
        key=${option%%=*}
        case $key in
        hairpin | ipv6) [ "$option" != "$key" ] || option=$key=yes ;;&
        via | hairpin | strays | udp_timeout | ipv6 | firewall)
            printf -v "$key" %s "${option#*=}"
            ;;
        *)
            echo "lab: router $name: no such option: $option" >&2
            return 1
            ;;
        esac
    done
    if [ "$kind" = cgn ]; then
        lab_router "$name-cgn" "$address" "100.64.${lan##*.}" portrestricted \
            hairpin=yes "strays=$strays" "udp_timeout=$udp_timeout"
        via=$name-cgn address=100.64.${lan##*.}.11 kind=portrestricted
    fi
    lab_space "$name"
    lab_uplink
    # Of its own: else it has a port's, and another one when that port goes.
    ip -n "$lab_id-$name" link add lan0 address 02:00:00:00:00:01 type bridge
    ip -n "$lab_id-$name" link set lan0 up
    [ "$ipv6" = only ] || ip -n "$lab_id-$name" addr add "$lan.1/24" dev lan0
    [ -z "$ipv6" ] ||
        ip -n "$lab_id-$name" addr add "${lab_lan6[$name]}1/64" dev lan0 nodad
    lab_in "$name" sysctl -q -w net.ipv4.ip_forward=1 \
        net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=0 \
        net.ipv4.conf.default.rp_filter=0 net.ipv4.conf.all.send_redirects=0 \
        net.ipv4.conf.lan0.send_redirects=0
    lab_nat "$name" "$address" "$lan" "$kind" "$strays" "$hairpin" \
        "$udp_timeout" "$firewall"
}

# The way out of a router, with the variables of lab_router.
lab_uplink() {
    local prefixes=()
    if [ -n "$ipv6" ] && [ -n "$via" ]; then
        echo "lab: router $name: carriers here have no IPv6" >&2
        return 1
    fi
    if [ -n "$ipv6" ]; then
        lab_lan6[$name]=2a0c:${lan##*.}::
        prefixes+=("2a0c:ff:${lan##*.}::1" "2a0c:${lan##*.}::/64")
    fi
    [ "$ipv6" = only ] || prefixes+=("$address")
    [ "$kind" != none ] || prefixes+=("$lan.0/24")
    if [ -z "$via" ]; then
        lab_plug "$name" "${prefixes[@]}"
        return
    fi
    lab_wire "$name" wan0 "$via" "$name"
    ip -n "$lab_id-$via" link set dev "$name" master lan0
    ip -n "$lab_id-$name" addr add "$address/24" dev wan0
    lab_routes[$name]=
    lab_route "$name" route add default via "${address%.*}.1"
    lab_ip[$name]=${lab_ip[$via]}
}

# lab_host NAME ROUTER ADDRESS [ipv6=only]
lab_host() {
    lab_space "$1"
    lab_cable "$@"
}

# The same for a host that is there.
lab_cable() {
    local name=$1 router=$2 address=$3 lan6=${lab_lan6[$2]-}
    lab_wire "$name" eth0 "$router" "$name"
    ip -n "$lab_id-$router" link set dev "$name" master lan0
    lab_routes[$name]=
    lab_host_router[$name]=$router
    lab_in "$name" sysctl -q -w net.ipv6.conf.eth0.keep_addr_on_down=1
    if [ "${4-}" != ipv6=only ] && [ -n "$address" ]; then
        ip -n "$lab_id-$name" addr add "$address/24" dev eth0
        lab_route "$name" route add default via "${address%.*}.1"
        lab_ip[$name]=${lab_ip[$router]-}
    fi
    if [ -n "$lan6" ]; then
        ip -n "$lab_id-$name" addr add "$lan6${address##*.}/64" dev eth0 nodad
        lab_route "$name" -6 route add default via "${lan6}1"
        lab_ip6[$name]=$lan6${address##*.}
    fi
}

# --- the short form ---

# lab_net TEXT: one statement a line, or between semicolons; README.md.
lab_net() {
    local line
    while IFS= read -r line; do
        line=${line%%#*}
        # shellcheck disable=SC2086
        [ -z "${line//[[:space:]]/}" ] || lab_state $line
    done <<<"${1//;/$'\n'}"
}

lab_state() {
    local what=$1 name=$2
    shift 2
    case $what in
    public)
        lab_made=$((lab_made + 1))
        lab_state_public "$name" "$lab_made" "$@"
        ;;
    router)
        lab_made=$((lab_made + 1))
        lab_state_router "$name" "$lab_made" "$@"
        ;;
    host)
        local router=$1
        shift
        lab_hosts_of[$router]=$((${lab_hosts_of[$router]-1} + 1))
        lab_host "$name" "$router" \
            "${lab_lan[$router]}.${lab_hosts_of[$router]}" "$@"
        ;;
    side) # a host, and what stands before it
        local kind=$1
        shift
        if [ "$kind" = none ]; then
            lab_state public "$name"
        else
            lab_state router "$name-nat" "$kind" "$@"
            lab_state host "$name" "$name-nat"
        fi
        ;;
    *)
        echo "lab: no such thing: $what" >&2
        return 1
        ;;
    esac
}

lab_state_public() {
    local name=$1 n=$2 addresses=("20.0.$2.1") option
    shift 2
    for option; do
        case $option in
        addresses=2) addresses+=("20.0.$n.2") ;;
        ipv6) addresses+=("2a0c:$n::1") ;;
        ipv6=only) addresses=("2a0c:$n::1") ;;
        *)
            echo "lab: public $name: no such option: $option" >&2
            return 1
            ;;
        esac
    done
    lab_public "$name" "${addresses[@]}"
}

lab_state_router() {
    local name=$1 n=$2 kind=$3 address=20.0.$2.1 lan=192.168.$2 option
    shift 3
    for option; do
        case $option in
        via=*)
            address=${lab_lan[${option#via=}]}.$((n + 10))
            ;;
        carrier) lan=100.64.$n ;;
        esac
    done
    [ "$kind" != none ] || lan=20.1.$n
    lab_lan[$name]=$lan
    lab_router "$name" "$address" "$lan" "$kind" "${@/#carrier/hairpin=yes}"
}

# lab_own NAME: the address of its device, IPv4 if it has one.
lab_own() {
    ip -n "$lab_id-$1" -o addr show scope global |
        awk '{ sub("/.*", "", $4); print $3 == "inet" ? 4 : 6, $4 }' |
        sort -s -n -k 1,1 | awk 'NR == 1 { print $2 }'
}

# --- while it runs ---

# lab_down NAME, lab_up NAME: its way to the network.
lab_device() {
    [ -n "${lab_host_router[$1]-}" ] && echo eth0 || echo wan0
}

lab_down() {
    ip -n "$lab_id-$1" link set dev "$(lab_device "$1")" down
}

lab_up() {
    local route
    ip -n "$lab_id-$1" link set dev "$(lab_device "$1")" up
    while IFS= read -r route; do
        # shellcheck disable=SC2086
        [ -z "$route" ] || ip -n "$lab_id-$1" ${route/route add/route replace}
    done <<<"${lab_routes[$1]}"
}

# lab_move HOST ROUTER|internet [ADDRESS]: pull the cable, and plug it in
# elsewhere: its old address is gone, it has another one.
lab_move() {
    local host=$1 to=$2 address=${3-}
    if [ -n "${lab_host_router[$host]-}" ]; then
        ip -n "$lab_id-$host" link del dev eth0
    else
        lab_wan detach "$host"
    fi
    unset "lab_host_router[$host]" "lab_ip[$host]" "lab_ip6[$host]"
    if [ "$to" = internet ]; then
        lab_made=$((lab_made + 1))
        lab_plug "$host" "${address:-20.0.$lab_made.1}"
        return
    fi
    if [ -z "$address" ]; then
        lab_hosts_of[$to]=$((${lab_hosts_of[$to]-1} + 1))
        address=${lab_lan[$to]}.${lab_hosts_of[$to]}
    fi
    lab_cable "$host" "$to" "$address"
}
