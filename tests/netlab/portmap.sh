#!/usr/bin/env bash
# The gateway maps a port to a host behind the worst of NATs, by each of the
# three protocols alone and by all at once; miniupnpd is the gateway's:
#
#     a ── r (symmetric, strays dropped; miniupnpd) ── internet ── p
#
# A stranger can then reach it at the first packet.  The mapping goes when it is
# given back, comes again after the gateway has lost it, and where the gateway
# maps nothing, or has a private address itself, that is said:
#
#     b ── i (miniupnpd) ── o ── internet
#
# Two covims behind symmetric NATs, a and c, are joined by such a port.
set -euo pipefail
# shellcheck source=tests/netlab/lab.sh
. "$(dirname "$0")/lab.sh"

daemon=$(command -v miniupnpd || echo /usr/sbin/miniupnpd)
[ -x "$daemon" ] || lab_skip "miniupnpd is not installed (miniupnpd-nftables)"
probe=$COVIM_BUILD/tests/portprobe
work=$(mktemp -d)
lab_begin
trap 'lab_end; rm -rf "$work"' EXIT
lab_net 'public p
         router r symmetric
         host a r
         router s symmetric
         host c s
         router o portrestricted
         router i portrestricted via=o
         host b i'

# gateway NATPMP UPNP [ROUTER]: start miniupnpd anew in r, or there.
gateway() {
    local router=${3-r}
    [ -z "${gateway_pid-}" ] || lab_stop "$gateway_pid"
    lab_in "$router" nft -f - <<'NFT'
table inet miniupnpd
delete table inet miniupnpd
table inet miniupnpd {
    chain forward {
        type filter hook forward priority 0
        jump miniupnpd
    }
    chain miniupnpd { }
    chain prerouting {
        type nat hook prerouting priority -110
        jump prerouting_miniupnpd
    }
    chain postrouting {
        type nat hook postrouting priority 90
        jump postrouting_miniupnpd
    }
    chain prerouting_miniupnpd { }
    chain postrouting_miniupnpd { }
}
NFT
    cat >"$work/gateway.conf" <<CONF
ext_ifname=wan0
listening_ip=lan0
enable_natpmp=$1
enable_upnp=$2
secure_mode=yes
system_uptime=no
upnp_table_name=miniupnpd
upnp_nat_table_name=miniupnpd
upnp_forward_chain=miniupnpd
upnp_nat_chain=prerouting_miniupnpd
upnp_nat_postrouting_chain=postrouting_miniupnpd
uuid=00000000-0000-0000-0000-000000000001
allow 1024-65535 0.0.0.0/0 1024-65535
CONF
    lab_spawn "$router" "$work/gateway.log" "$daemon" -d -f "$work/gateway.conf" \
        -P "$work/gateway.pid"
    gateway_pid=$lab_pid
    sleep 0.3
    kill -0 "$gateway_pid" 2>/dev/null || {
        cat "$work/gateway.log"
        lab_skip "miniupnpd does not run here"
    }
}

lab_stop() {
    kill "$1" 2>/dev/null || :
    wait "$1" 2>/dev/null || :
}

# ask WAY…: map from a, or $asker; the pid is in $prober.
asker=a
ask() {
    rm -f "$work/probe.log"
    lab_spawn "$asker" "$work/probe.log" "$probe" serve "$@"
    prober=$lab_pid
}

fail() {
    echo "FAILED: $*"
    cat "$work/probe.log"
    tail -n 20 "$work/gateway.log"
    lab_in r nft list table inet miniupnpd
    exit 1
}

# says WORDS: the last thing that the probe said.
says() {
    grep '^mapped' "$work/probe.log" 2>/dev/null | tail -n 1 | grep -q -- "$1"
}

mapped() {
    sed -n 's/^mapped [^ ]* \([0-9.:]*\) .*/\1/p' "$work/probe.log" | tail -n 1
}

# serves NAME WAY…: asked by these ways, the one called NAME maps.
serves() {
    local name=$1 address
    shift
    ask "$@"
    lab_wait 8 says "^mapped $name ${lab_ip[r]}:[0-9]* ${lab_ip[r]}:" ||
        fail "$* does not map UDP and TCP by $name"
    address=$(mapped)
    lab_in p "$probe" poke "$address" || fail "$address ($name) is not reached"
    echo "$name: $address is reached from outside"
    lab_stop "$prober"
    lab_wait 3 is_gone || fail "the mapping by $name was not given back"
}

is_gone() {
    # Not grep -q: nft would die of a closed pipe, and that looks like "gone".
    ! lab_in r nft list table inet miniupnpd | grep 'dport 40123' >/dev/null
}

gateway yes no
serves PCP pcp
serves NAT-PMP natpmp
gateway no yes
serves UPnP upnp
serves UPnP pcp natpmp upnp # whoever answers
gateway yes yes
serves PCP pcp natpmp upnp # who answers first

# The gateway restarts and has forgotten everything; with the next change of
# our own network (here SIGUSR1) it is asked again, and gives the same port.
ask pcp natpmp upnp
lab_wait 8 says "^mapped PCP ${lab_ip[r]}" || fail "PCP does not map"
is_gone && fail "there is no mapping to lose"
gateway yes yes
is_there() {
    ! is_gone
}
kill -USR1 "$prober"
lab_wait 5 is_there || fail "a restarted gateway was not asked again"
lab_in p "$probe" poke "$(mapped)" || fail "it is not reached after a restart"
echo "restart: mapped again"
lab_stop "$prober"

# A gateway that has a private address outside: no candidate, but a finding.
gateway yes yes i
asker=b
ask pcp natpmp upnp
lab_wait 8 says 'no public address\|second NAT' || fail "two NATs: not noticed"
[ "$(mapped)" = "" ] || fail "a private address was taken for a public one"
lab_stop "$prober"
echo "double NAT: $(grep '^mapped' "$work/probe.log" | tail -n 1)"

# Two symmetric NATs, which nothing punches: a mapping on one side is enough.
# The two find each other by tokens, so that nothing else is needed; c, whose NAT
# no one can open from outside, knocks at the mapped port within 15 s.
gateway yes yes
covim=$COVIM_BUILD/cli/covim
printf 'hello\n' >"$work/shared.txt"
mkfifo "$work/typed"
exec 3<>"$work/typed"
node=(--bootstrap none --no-lan --stun "${lab_ip[p]}:3478")
lab_spawn p "$work/stun.log" "$covim" stun --listen "${lab_ip[p]}:3478"
ip netns exec "$lab_id-a" env -u COVIM_NO_PORT_MAPPING "$covim" share --token \
    --open "${node[@]}" --data-dir "$work/a" --log debug "$work/shared.txt" \
    <"$work/typed" >"$work/a.out" 2>"$work/probe.log" &
lab_pids+=("$!")
lab_wait 10 grep -q covimhost1 "$work/a.out" || fail "no token"
lab_spawn c "$work/c.out" "$covim" join "${node[@]}" --no-port-mapping \
    --data-dir "$work/c" "$(grep covimhost1 "$work/a.out")" "$work/got.txt"
lab_wait 10 grep -q covimguest1 "$work/c.out" || fail "no token comes back"
echo "add $(grep covimguest1 "$work/c.out")" >"$work/typed"
lab_wait 30 cmp -s "$work/shared.txt" "$work/got.txt" ||
    fail "symmetric x symmetric is not joined by a mapped port"
echo "symmetric x symmetric: joined by a mapped port"
kill "${lab_pids[-1]}" "${lab_pids[-2]}"

# Nobody answers.
lab_stop "$gateway_pid"
ask pcp natpmp upnp
lab_wait 8 says 'answers neither' || fail "silence is not told"
lab_stop "$prober"
echo "silence: told"
