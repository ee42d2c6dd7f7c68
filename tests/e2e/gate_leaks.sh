#!/usr/bin/env bash
# Two people who have no way but a gate share, join, edit and leave; two others
# have none but its TLS.  All that the gate sees is recorded: the packets, and
# what it reads out of TLS.  Neither the text, nor the names of files and
# people, nor keys of sessions are in any of it.
set -euo pipefail
# shellcheck source=tests/e2e/bad.sh
. "$(dirname "$0")/bad.sh"

record=$COVIM_BUILD/tests/record
gate=$COVIM_BUILD/gate/covim-gate
vims_need
lab_begin
trap vims_end EXIT
lab_public pub 20.0.0.1
lab_public g 20.0.0.2
lab_router ra 20.0.0.11 192.168.1 symmetric
lab_router rb 20.0.0.12 192.168.2 symmetric
lab_router rc 20.0.0.13 192.168.3 tcp443only
lab_router rd 20.0.0.14 192.168.4 tcp443only
lab_host a ra 192.168.1.2
lab_host b rb 192.168.2.2
lab_host c rc 192.168.3.2
lab_host d rd 192.168.4.2
lab_spawn pub "$work/dht.log" dhtnode -s -p 4222
lab_spawn pub "$work/stun.log" "$covim" stun --listen 20.0.0.1:3478
lab_wan record "$work/packets"

mkdir -m 700 "$work/gate"
options=(--listen 20.0.0.2:443 --key "$work/gate/key" --metrics 127.0.0.1:9464)
name=$(lab_in g "$gate" "${options[@]}" --name 20.0.0.2 --print-name)
tapped() { # COMMAND…: with the tap inside
    exec env GATE_TAP="$work/inside" ASAN_OPTIONS=verify_asan_link_order=0 \
        LD_PRELOAD="$COVIM_BUILD/tests/gate_tap.so" "$@"
}
export -f tapped
export work COVIM_BUILD
lab_spawn g "$work/gate.err" bash -c 'tapped "$@"' - "$gate" "${options[@]}"
lab_wait 10 grep -q listening "$work/gate.err" || fail "there is no gate"
metric() {
    lab_in g python3 - "$1" <<'PY'
import sys, urllib.request
for line in urllib.request.urlopen("http://127.0.0.1:9464/metrics"):
    if line.startswith(b"covim_gate_" + sys.argv[1].encode() + b" "):
        print(line.split()[1].decode())
PY
}

step "over the gate by UDP: two Vims"
{
    echo 'MARKERINTHETEXT'
    head -n 300 "$top/transport/net.c"
    head -c 60000 /dev/urandom | base64 # does not get smaller
    echo 'MARKERINTHETEXT'
} >"$work/MARKEROFTHEFILE.txt"
vim_settings="let g:covim_gate = ['$name']"
vim_start zaphodsname a "$work/MARKEROFTHEFILE.txt"
vim_start trilliansname b
vims_meet zaphodsname trilliansname
vim_eval trilliansname "append(10, 'MARKEROFTHEGUEST')" >/dev/null
vim_eval zaphodsname "append(20, 'MARKEROFTHEHOST')" >/dev/null
abuf=$(vim_eval zaphodsname 'bufnr()') bbuf=$(vim_eval trilliansname 'bufnr()')
same_text 20 zaphodsname "$abuf" trilliansname "$bbuf" || fail "texts differ"
grep -q MARKEROFTHEGUEST "$work/zaphodsname.text" || fail "no edit"
vim_wait trilliansname 10 "covim#statusline() =~# 'gate'" ||
    fail "it does not go over the gate"
vim_keys trilliansname ':CoVim leave' Enter
vim_wait zaphodsname 10 "b:covim.peers->len() == 0" || fail "not left"
vim_end trilliansname
vim_end zaphodsname
udp=$(metric packets_udp_total) links=$(metric packets_link_total)
[ "$udp" -gt 40 ] || fail "only $udp packets went over the gate by UDP"

step "over the gate by TLS: from the command line"
cp "$work/MARKEROFTHEFILE.txt" "$work/MARKEROFTHESECOND.txt"
first=$key
share arthursname c "$work/MARKEROFTHESECOND.txt" --open --gate "$name"
sleep 2 # its pointer is on its way
join_spawn fordsname d "$key" "$work/got.txt" --gate "$name"
lab_wait 40 cmp -s "$work/got.txt" "$work/MARKEROFTHESECOND.txt" ||
    fail "no second text"
stop "$join_pid"
stop "$share_pid"
links=$(($(metric packets_link_total) - links))
[ "$links" -gt 40 ] || fail "only $links packets went over links"
echo "$udp packets went over the gate by UDP, $links by links"

step "what is there, and what is not"
# A packet of known text through a channel, and a datagram in the clear, to see
# that looking works.
lab_in pub "$COVIM_BUILD/tests/gate_probe" "$name" send 3
lab_in pub bash -c 'echo CONTROLMARKER >/dev/udp/20.0.0.2/443'
sleep 0.2
lab_wan record off
there() { # RECORDING WHAT AT-LEAST
    local n
    n=$("$record" "$work/$1" "$2" | awk '{ print $NF }')
    echo "$1: $2 $n"
    [ "$n" -ge "$3" ] || fail "$1 does not show $2"
}
there packets udp 200
there packets text:CONTROLMARKER 1
there inside packets 50
there inside 'text:known text of a packet' 6 # in and out
hidden=(text:MARKERINTHETEXT text:MARKEROF text:zaphodsname
    text:trilliansname text:arthursname text:fordsname text:CV_NET
    text:covim:// text:got.txt "key:$first" "key:$key")
for recording in packets inside; do
    "$record" "$work/$recording" "${hidden[@]}" >"$work/hidden"
    sed "s/^/$recording: /" "$work/hidden"
    ! grep -v ' 0$' "$work/hidden" || fail "a gate can read that"
done
