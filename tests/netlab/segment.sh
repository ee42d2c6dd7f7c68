#!/usr/bin/env bash
# The public segment between real namespaces: delay, TTL, loss, duplicates,
# order, black holes, counters; and who asks finds the way it made.
#
#     a ── NAT (portrestricted) ──┐
#     p (public) ─── ten routers ─┼─ b ── NAT (portrestricted, strays accepted)
set -euo pipefail
# shellcheck source=tests/netlab/lab.sh
. "$(dirname "$0")/lab.sh"

probe=$COVIM_BUILD/tests/natprobe
flow=$COVIM_BUILD/tests/flow

fail() {
    echo "FAIL: $*"
    lab_wan count
    exit 1
}

lab_begin
lab_net 'public p ipv6
         side a portrestricted ipv6
         side b portrestricted strays=accept ipv6'

# count SRC DST FIELD: of the segment's counters.
count() {
    lab_wan count | tr -d '\n' | sed 's/},/}\n/g' |
        sed -n "s/.*\"src\":\"$1\".*\"dst\":\"$2\".*\"$3\":\([0-9]*\).*/\1/p"
}

# at_gateway TTL FROM TO PORT: does a datagram of a's get to b's router?
at_gateway() {
    local before after
    before=$(lab_in b-nat cat /proc/net/dev | awk '/wan0/ { print $3 }')
    lab_in a "$probe" send "$2" "$3" "$1"
    sleep 0.05
    after=$(lab_in b-nat cat /proc/net/dev | awk '/wan0/ { print $3 }')
    [ "$after" != "$before" ]
}

for ttl in 3 5 8; do
    ! at_gateway $ttl "$(lab_own a):6000" "${lab_ip[b]}:6000" ||
        fail "TTL $ttl reaches the peer's gateway"
    ! at_gateway $ttl "[${lab_ip6[a]}]:6000" "[${lab_ip6[b]}]:6000" ||
        fail "hop limit $ttl reaches the peer's gateway"
done
at_gateway 64 "$(lab_own a):6000" "${lab_ip[b]}:6000" ||
    fail "TTL 64 does not reach the peer's gateway"
at_gateway 64 "[${lab_ip6[a]}]:6000" "[${lab_ip6[b]}]:6000" ||
    fail "hop limit 64 does not reach the peer's gateway"
[ "$(count "${lab_ip[a]}" "${lab_ip[b]}" expired)" = 3 ] || fail "expired"
[ "$(count "${lab_ip[a]}" "${lab_ip[b]}" packets)" = 4 ] || fail "packets"
[ "$(count "${lab_ip6[a]}" "${lab_ip6[b]}" expired)" = 3 ] || fail "expired, v6"

# Router K of the segment says where TTL K + 1 ended, and can be told not to.
[ "$(lab_in p "$probe" hops "${lab_ip[p]}" "${lab_ip[b]}" | tr '\n' ' ')" = \
    "$(for k in 1 2 3 4 5 6 7 8 9 10; do echo "20.255.255.$k:0"; done |
        tr '\n' ' ')${lab_ip[b]}:0 " ] || fail "the routers on the way"
[[ "$(lab_in a "$probe" hops "${lab_ip6[a]}" "${lab_ip6[p]}")" = \
    *'[2a0c:ffff::a]:0'* ]] || fail "the IPv6 routers on the way"
lab_wan set icmp=0
[ "$(lab_in p "$probe" hops "${lab_ip[p]}" "${lab_ip[b]}" | head -n 1)" = - ] ||
    fail "time exceeded although it is off"
lab_wan set icmp=1

# measure RATE COUNT WHAT: a flow from a to p; what came of it is in $got.
measure() {
    rm -f "$lab_dir/ready"
    lab_in p "$flow" receive "${lab_ip[p]}:7000" 300 >"$lab_dir/flow" \
        2>"$lab_dir/ready" &
    local receiver=$!
    lab_wait 5 grep -q ready "$lab_dir/ready"
    lab_in a "$flow" send "$(lab_own a)" "${lab_ip[p]}:7000" "$1" "$2" >/dev/null
    wait $receiver
    got=$(cat "$lab_dir/flow")
    echo "$3: $got"
}

number() {
    sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" <<<"$got"
}

between() { # FIELD LOW HIGH
    local n
    n=$(number "$1")
    [ "$n" -ge "$2" ] && [ "$n" -le "$3" ] || fail "$1 is $n, not $2 to $3"
}

lab_wan set delay=25
measure 1000 1000 "25 ms"
between packets 1000 1000
between min_ms 25 25
between reordered 0 0
lab_wan set loss=0.1 delay=0
measure 2000 2000 "10 % lost"
between packets 1700 1900
lab_wan set loss=0 dup=0.1
measure 2000 2000 "10 % twice"
between duplicates 100 300
lab_wan set dup=0 reorder=0.1 hold=20
measure 1000 1000 "10 % late"
between packets 1000 1000
between reordered 40 160
lab_wan set reorder=0

# Black holes: in one direction, in both, and restored.
asks() {
    lab_in a "$probe" map "$(lab_own a)" "${lab_ip[p]}" >"$lab_dir/mapped"
}
lab_spawn p "$lab_dir/serve.log" "$probe" serve "${lab_ip[p]}" 127.0.0.1
lab_wait 5 grep -q serving "$lab_dir/serve.log"
asks || fail "no answer"
lab_wan block p a-nat
! asks || fail "an answer through a black hole"
lab_wan restore p a-nat
asks || fail "no answer after that"
lab_wan cut p a-nat
! asks || fail "an answer through a cut"
lab_wan restore
asks || fail "no answer after a cut"
lab_wan block '*' a-nat
! asks || fail "an answer although everybody is silent"
lab_wan restore '*' a-nat
asks || fail "no answer from everybody"

# What is sent to an address that nobody has is counted, too.
lab_wan count reset >/dev/null
for _ in 1 2 3; do
    lab_in p "$probe" send "${lab_ip[p]}" 20.0.99.99:1234
done
[[ "$(lab_wan count)" = \
    *'"to":null,"dst":"20.0.99.99","packets":3,"bytes":93'* ]] ||
    fail "packets to a victim are not counted"
! lab_wan nonsense 2>/dev/null || fail "nonsense is obeyed"
! lab_wan set loss=x 2>/dev/null || fail "a share that is none"
