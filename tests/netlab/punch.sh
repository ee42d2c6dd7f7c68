#!/usr/bin/env bash
# Two nodes of transport/ reach each other through real NATs, and keep their
# connection while the network under it changes:
#
#     a ── router ra ──┐                ┌── router rb ── b
#                      ├── 20.0.0.0/24 ─┤
#     pub 20.0.0.1, .2 (STUN)           └── c 20.0.0.9, public
set -euo pipefail
# shellcheck source=tests/netlab/lab.sh
. "$(dirname "$0")/lab.sh"

bin=$COVIM_BUILD/tests
[ -x "$bin/punchprobe" ] || bin=$COVIM_BUILD
work=$(mktemp -d)
lab_logs=$work

lab_begin
trap 'lab_end; rm -rf "$work"' EXIT
lab_public pub 20.0.0.1 20.0.0.2
lab_public c 20.0.0.9
lab_router ra 20.0.0.11 192.168.1 portrestricted
lab_router rb 20.0.0.12 192.168.2 portrestricted
lab_router rs 20.0.0.13 192.168.3 symmetric
lab_host a ra 192.168.1.2
lab_host a2 ra 192.168.1.3
lab_host b rb 192.168.2.2
lab_host s rs 192.168.3.2
lab_spawn pub "$work/stun.log" "$bin/stunprobe" 20.0.0.1:3478 20.0.0.2:3478
sleep 0.2

# pair JOINER SHARER MS: both in the background.
pair() {
    rm -f "$work"/[js].*
    lab_spawn "$1" "$work/j.log" "$bin/punchprobe" joiner "$work/j.rec" \
        "$work/s.rec" "$3" 20.0.0.1:3478 20.0.0.2:3478
    j=$lab_pid
    lab_spawn "$2" "$work/s.log" "$bin/punchprobe" sharer "$work/s.rec" \
        "$work/j.rec" "$3" 20.0.0.1:3478 20.0.0.2:3478
    s=$lab_pid
}

finish() {
    wait "$j" || :
    wait "$s" || :
    gap=$(sed -n 's/^gap \([0-9]*\).*/\1/p' "$work/j.log")
    ticks=$(sed -n 's/^gap .* ticks \([0-9]*\)$/\1/p' "$work/j.log")
}

connects() { # JOINER SHARER KIND
    pair "$1" "$2" 2000
    finish
    expect "$1 x $2 connects" grep -q "^connected $3 " "$work/j.log"
    expect "$1 x $2 ticks" [ "$ticks" -gt 30 ]
    echo "$1 x $2: $(grep '^connected' "$work/j.log"), longest wait $gap ms"
}

connects a b ipv4   # both behind port-restricted NATs
connects b a ipv4
connects a c ipv4   # one public
connects c b ipv4
connects s c ipv4   # symmetric, dialled from and to a public host
connects c s ipv4
connects a a2 lan   # one LAN

# Gateways that let strays in (and refuse them) keep a trace of them, and then
# give the port to nobody else.  The ten routers between them, on which openers
# die, are what keeps both clean until the sharer is told.
lab_router rc 20.0.0.14 192.168.4 portrestricted strays=accept
lab_router rd 20.0.0.15 192.168.5 portrestricted strays=accept
lab_host ac rc 192.168.4.2
lab_host ad rd 192.168.5.2
export PUNCHPROBE_LATE=800
for i in 1 2 3; do
    connects ac ad ipv4
    lab_in rc conntrack -F >/dev/null 2>&1 || :
    lab_in rd conntrack -F >/dev/null 2>&1 || :
done
unset PUNCHPROBE_LATE

# Two symmetric NATs cannot be joined by anything.
lab_router rt 20.0.0.14 192.168.4 symmetric
lab_host t rt 192.168.4.2
pair s t 12000
finish
expect "s x t fails with a reason" grep -q \
    "^failed no direct path: here is a NAT that takes a random port .*, on the \
other side a NAT that takes a random port" "$work/j.log"
expect "s x t fails with a reason" grep -q "^failed no direct path: " \
    "$work/s.log"
echo "s x t: $(grep '^failed' "$work/j.log")"

# The NAT forgets its mappings, and gives other ones.
pair a c 9000
lab_wait 5 grep -q ^connected "$work/j.log"
for i in 1 2 3; do
    sleep 1.5
    lab_rebind ra || break
done
finish
if command -v conntrack >/dev/null; then
    expect "rebinding is survived" [ "$gap" -lt 1500 ]
    echo "rebinding three times: longest wait $gap ms"
fi

# The path dies, is told, and comes back.
pair b c 14000
lab_wait 5 grep -q ^connected "$work/j.log"
sleep 0.5
lab_down rb
expect "a dead path is told in 5 s" lab_wait 5 grep -q '^path none' "$work/j.log"
lab_up rb
expect "it comes back in 3 s" lab_wait 3 sh -c \
    "sed '1,/path none/d' '$work/j.log' | grep -q '^path ipv4'"
finish
expect "ticks go on" [ "$ticks" -gt 100 ]
echo "outage: longest wait $gap ms, $ticks ticks"

# The joiner moves to another network.
pair a c 8000
lab_wait 5 grep -q ^connected "$work/j.log"
sleep 1
lab_move a rb 192.168.2.9
finish
expect "roaming is survived" [ "$ticks" -gt 200 ]
expect "roaming costs less than 2 s" [ "$gap" -lt 2000 ]
echo "roaming: longest wait $gap ms"
