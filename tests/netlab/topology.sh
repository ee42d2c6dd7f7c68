#!/usr/bin/env bash
# What the kinds alone do not show: neighbours, carriers, timeouts, IPv6, what
# changes while a lab runs, and that a lab leaves nothing behind.
#
#     carrier ─┬─ h1 ── c1       no hairpin: r ─┬─ a1      v6 firewall: f ── f1
#              └─ h2 ── c2                      └─ a2      open:        o ── o1
set -euo pipefail
# shellcheck source=tests/netlab/lab.sh
. "$(dirname "$0")/lab.sh"

probe=$COVIM_BUILD/tests/natprobe

fail() {
    echo "FAIL: $*"
    exit 1
}

step() {
    echo "$(date +%T) $*"
}

machine() {
    ip -o link | cut -d : -f 2
    ip route
}
before=$(machine)

started=$(date +%s%N)
lab_begin
lab_net 'public p addresses=2 ipv6
         side x symmetric
         side y portrestricted'
echo "a lab of two sides takes $((($(date +%s%N) - started) / 1000000)) ms"
lab_net 'router carrier portrestricted carrier   # two homes behind it
         router h1 portrestricted via=carrier; host c1 h1
         router h2 restricted via=carrier;     host c2 h2
         router r portrestricted;         host a1 r; host a2 r
         router s fullcone hairpin;       host s1 s; host s2 s
         router t symmetric udp_timeout=1;      host t1 t
         router u portrestricted udp_timeout=1; host u1 u
         router f portrestricted ipv6; host f1 f; host f2 f ipv6=only
         router o portrestricted ipv6 firewall=no; host o1 o'
p=${lab_ip[p]} p2=20.0.1.2
lab_spawn p "$lab_dir/serve.log" "$probe" serve "$p" "$p2"
lab_spawn p "$lab_dir/serve6.log" "$probe" serve "${lab_ip6[p]}" ::1
lab_wait 5 grep -q serving "$lab_dir/serve.log" "$lab_dir/serve6.log"

# map HOST PORT [SERVER [N GAP]]: how PORT of HOST is seen.
map() {
    lab_in "$1" "$probe" map "$(lab_own "$1"):$2" "${@:3}"
}

# How long to listen for what should come: a busy machine takes its time to
# start whoever sends it.
window=1500

# hears HOST ADDRESS:PORT MS: in the background, as $listener; to a file.
hears() {
    rm -f "$lab_dir/heard"
    lab_in "$1" "$probe" listen "$2" "$3" >"$lab_dir/heard" &
    listener=$!
    lab_wait 5 grep -q listening "$lab_dir/heard"
}

# punch A B: a datagram from port 5000 of A to B's mapped one, then one back;
# where the second came from.
punch() {
    local ma mb
    ma=$(map "$1" 5000 "$p") mb=$(map "$2" 5000 "$p")
    hears "$1" "$(lab_own "$1"):5000" $window
    lab_in "$1" "$probe" send "$(lab_own "$1"):5000" "$mb"
    lab_in "$2" "$probe" send "$(lab_own "$2"):5000" "$ma"
    wait $listener
    heard=$(sed -n 's/^from //p' "$lab_dir/heard" | sort -u)
    expected=$mb
}

step "neighbours"
punch c1 c2
[ "$heard" = "$expected" ] || fail "two homes of a carrier: '$heard'"
punch c2 c1
[ "$heard" = "$expected" ] || fail "two homes of a carrier, back: '$heard'"
punch a1 a2
[ -z "$heard" ] || fail "there is hairpin: $heard"
punch s1 s2
[ "$heard" = "$expected" ] || fail "there is no hairpin: '$heard'"
punch c1 a1
[ "$heard" = "$expected" ] || fail "a customer of a carrier, and others: '$heard'"

# connectivity.md, 1: a datagram that is there before the other side has sent
# spoils its port, if its gateway accepts strays; with a low TTL it is not there.
step "early packets"
lab_wan set delay=25
early() { # STRAYS TTL: does the late side's answer arrive?
    local a=e1$1 b=e2$1 ma mb
    lab_rebind $a-nat
    lab_rebind $b-nat
    ma=$(map $a 5000 "$p") mb=$(map $b 5000 "$p")
    hears $a "$(lab_own $a):5000" $window
    lab_in $a "$probe" send "$(lab_own $a):5000" "$mb" "$2"
    sleep 0.1
    lab_in $b "$probe" send "$(lab_own $b):5000" "$ma"
    wait $listener
    grep -q "^from $mb" "$lab_dir/heard"
}
for strays in drop accept reject; do
    lab_net "side e1$strays portrestricted strays=$strays
             side e2$strays portrestricted strays=$strays"
    early $strays 5 || fail "strays=$strays: an opener does not help"
    if [ $strays = accept ]; then
        ! early $strays 64 || fail "an early packet spoils nothing"
    else
        early $strays 64 || fail "strays=$strays: an early packet spoils a port"
    fi
done
lab_wan set delay=0

step "two hosts with the same port"
one=$(map a1 6000 "$p") two=$(map a2 6000 "$p")
[ "$one" != "$two" ] || fail "both are $one"
[ "$(map a1 6000 "$p2")" = "$one" ] || fail "the first has two mappings"
[ "$(map a2 6000 "$p2")" = "$two" ] || fail "the second has two mappings"

step "timeouts"
[ "$(map t1 5001 "$p" 3 300 | sort -u | wc -l)" = 1 ] ||
    fail "a mapping in use is forgotten"
[ "$(map t1 5002 "$p" 2 2500 | sort -u | wc -l)" = 2 ] ||
    fail "an idle mapping is kept"
mapped=$(map u1 5003 "$p")
hears u1 "$(lab_own u1):5003" $window
lab_in p "$probe" send "$p:3478" "$mapped"
wait $listener
grep -q 'received 1' "$lab_dir/heard" || fail "a fresh mapping lets nothing in"
sleep 2.5
hears u1 "$(lab_own u1):5003" 400
lab_in p "$probe" send "$p:3478" "$mapped"
wait $listener
grep -q 'received 0' "$lab_dir/heard" || fail "an idle mapping lets packets in"

step "IPv6"
knock() { # HOST: does a stranger's datagram arrive?
    hears "$1" "[${lab_ip6[$1]}]:5000" $window
    lab_in p "$probe" send "[${lab_ip6[p]}]:5000" "[${lab_ip6[$1]}]:5000"
    wait $listener
    grep -q 'received 1' "$lab_dir/heard"
}
! knock f1 || fail "a firewall lets strangers in"
knock o1 || fail "no firewall keeps strangers out"
for host in f1 f2 o1; do
    [ "$(lab_in $host "$probe" map "[${lab_ip6[$host]}]:5001" \
        "${lab_ip6[p]}")" = "[${lab_ip6[$host]}]:5001" ] ||
        fail "$host does not get out over IPv6"
done
[ -z "$(ip -n "$lab_id-f2" -4 route)" ] || fail "f2 has IPv4"
hears f1 "[${lab_ip6[f1]}]:5002" $window
lab_in f1 "$probe" send "[${lab_ip6[f1]}]:5002" "[${lab_ip6[p]}]:5002"
lab_in p "$probe" send "[${lab_ip6[p]}]:5002" "[${lab_ip6[f1]}]:5002"
wait $listener
grep -q 'received 1' "$lab_dir/heard" || fail "a firewall is not punched"

step "rebinding"
for host in x y s1; do
    router=${lab_host_router[$host]}
    old=$(map $host 7000 "$p")
    lab_rebind "$router"
    new=$(map $host 7000 "$p")
    [ "$old" != "$new" ] || fail "$router gives $old again"
done
find_kind() {
    lab_in "$1" "$probe" find "$(lab_own "$1")" "$p" "$p2" | head -n 1
}
[ "$(find_kind y)" = 'udp eim/apdf/shifted/silent' ] ||
    fail "portrestricted has become $(find_kind y)"
[ "$(find_kind s1)" = 'udp eim/eif/shifted/silent' ] ||
    fail "fullcone has become $(find_kind s1)"

step "links and moves"
for of in y y-nat; do
    lab_down $of
    ! map y 7001 "$p" >/dev/null || fail "$of is down, and y gets out"
    lab_up $of
    lab_wait 3 map y 7001 "$p" || fail "$of is up, and y does not get out"
done
lab_move a1 s
[[ "$(map a1 7002 "$p")" = "${lab_ip[s]}":* ]] || fail "a1 is not behind s"
[[ "$(map a2 7002 "$p")" = "${lab_ip[r]}":* ]] || fail "a2 has moved, too"
lab_move a1 internet
[ "$(map a1 7002 "$p")" = "$(lab_own a1):7002" ] || fail "a1 is not outside"
lab_move a1 h1
[[ "$(map a1 7002 "$p")" = "${lab_ip[carrier]}":* ]] || fail "a1 is not back"

step "other labs: beside this one, ended, and killed"
other() {
    rm -f "$lab_dir/other"
    bash -c '. "$1"; lab_begin; lab_net "side a symmetric"
             echo up; for _ in 1 2 3 4 5 6 7 8 9; do sleep 1; done' \
        other "$(dirname "$0")/lab.sh" >"$lab_dir/other" 2>&1 &
    other=$!
    lab_wait 10 grep -q up "$lab_dir/other" || fail "$(cat "$lab_dir/other")"
    [ -e "/run/netns/cv$other-a" ] || fail "the other lab is not there"
}
gone() {
    [ -z "$(compgen -G "/run/netns/cv$other-*")" ]
}
other
map y 7003 "$p" >/dev/null || fail "the other lab disturbs"
kill $other
lab_wait 10 gone || fail "a lab that was ended is still there"
other
kill -9 $other
wait $other 2>/dev/null || :
! gone || fail "who cleaned up?"
(lab_begin)
gone || fail "the next lab does not clean up after a killed one"
map y 7004 "$p" >/dev/null || fail "and this one?"

lab_end
[ -z "$(compgen -G "/run/netns/cv$$-*")" ] || fail "something is left"
[ "$(machine)" = "$before" ] || fail "the machine's own network has changed"
