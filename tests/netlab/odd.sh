#!/usr/bin/env bash
# Pairs of networks that are put together oddly are joined directly ("covim
# echo"), all of them at once:
#
#   one NAT without hairpin     r: r1, r2
#   one LAN without internet    l: l1, l2, by LAN discovery alone
#   IPv6 only, and both         v6 -> v, each behind a firewall
#   two carriers                c1 (home and carrier) with every main kind
#   one carrier that hairpins   k: home h1 and, beside it, a home of every kind
set -euo pipefail
# shellcheck source=tests/netlab/roaming.sh
. "$(dirname "$0")/roaming.sh"
command -v dhtnode >/dev/null || lab_skip "no dhtnode"

work=$(mktemp -d)
roam_begin "$work"
trap 'lab_end; rm -rf "$work"' EXIT
kinds=(none fullcone restricted portrestricted symmetric cgn)
homes=(fullcone restricted portrestricted symmetric symmetric-seq)
lab_net 'router r portrestricted; host r1 r; host r2 r
         router l portrestricted; host l1 l; host l2 l
         router g portrestricted ipv6; host v g
         router g6 portrestricted ipv6=only; host v6 g6 ipv6=only
         public e ipv6
         router k portrestricted carrier; router k1 portrestricted via=k
         host h1 k1
         side c1 cgn'
for i in "${!kinds[@]}"; do lab_net "side x$i ${kinds[i]}"; done
for i in "${!homes[@]}"; do
    lab_net "router kx$i ${homes[i]} via=k; host hx$i kx$i"
done
lab_down l
e6=${lab_ip6[e]}
ip netns exec "$lab_id-e" dhtnode -p 4222 <&9 >"$work/dht-e.log" 2>&1 &
lab_pids+=($!)
lab_spawn e "$work/stun-e.log" "$roam_covim" stun --listen "[$e6]:3478"

lan=(--bootstrap none)
six=(--no-lan --bootstrap "[$e6]:4222" --stun "[$e6]:3478")

fail() {
    echo "FAILED: $*"
    for file in "$work"/*-serve "$work"/*-dial; do
        echo "--- $file"
        tail -n 15 "$file"
    done
    exit 1
}

# serve NAME HOST OPTION…, dial NAME HOST OPTION…: both in the background.  A
# birthday may miss, and the next one is a minute later.
declare -A dials=()
serve() {
    local name=$1 host=$2
    shift 2
    mkdir -m 700 "$lab_dir/$name-s" "$lab_dir/$name-d"
    lab_spawn "$host" "$work/$name-serve" timeout 130 "$roam_covim" echo serve \
        --data-dir "$lab_dir/$name-s" --log debug "$@"
}

dial() {
    local name=$1 host=$2
    shift 2
    lab_wait 30 grep -qE '"event":"(published|listening)"' \
        "$work/$name-serve" || fail "$name: nothing is served"
    lab_spawn "$host" "$work/$name-dial" timeout 130 "$roam_covim" echo dial \
        --data-dir "$lab_dir/$name-d" --log debug --timeout 90 "$@" \
        "$(sed -n 's/.*"key":"\([^"]*\)".*/\1/p' "$work/$name-serve")"
    dials[$name]=$lab_pid
}

joined() { # NAME PATH…: by one of these
    local name=$1 path
    shift
    wait "${dials[$name]}" || fail "$name: not joined"
    path=$(sed -n '/"event":"result"/s/.*"path":"\([^"]*\)".*/\1/p' \
        "$work/$name-dial")
    [[ " $* " = *" $path "* ]] || fail "$name: joined by $path, not by $*"
    echo "$name: $path, $(grep -o '"echo_ms":[0-9]*' "$work/$name-dial")"
}

serve one-nat r1 "${roam_world[@]}"
serve one-lan l1 "${lan[@]}"
serve six v "${six[@]}"
for i in "${!homes[@]}"; do
    serve "beside-${homes[i]}" "hx$i" "${roam_world[@]}"
done
for i in "${!kinds[@]}"; do
    serve "carrier-${kinds[i]}" "x$i" "${roam_world[@]}"
done
dial one-nat r2 "${roam_world[@]}"
dial one-lan l2 "${lan[@]}"
dial six v6 "${six[@]}"
for home in "${homes[@]}"; do
    dial "beside-$home" h1 "${roam_world[@]}"
done
for kind in "${kinds[@]}"; do
    dial "carrier-$kind" c1 "${roam_world[@]}"
done
joined one-nat lan
joined one-lan lan
joined six ipv6
for home in "${homes[@]}"; do
    joined "beside-$home" ipv4 tcp
done
for kind in "${kinds[@]}"; do
    joined "carrier-$kind" ipv4 tcp
done
