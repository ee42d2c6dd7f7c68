#!/usr/bin/env bash
# Every packet on the public segment is recorded while two people behind NATs
# share, join, edit, and leave.  Neither the text, nor the names of files and
# people, nor the key of the session are in any of them.
set -euo pipefail
# shellcheck source=tests/e2e/bad.sh
. "$(dirname "$0")/bad.sh"

record=$COVIM_BUILD/tests/record
vims_need
vims_lab
lab_wan record "$work/packets"

step "share, be let in, edit, and a second session from the command line"
{
    echo 'MARKERINTHETEXT'
    head -n 2000 "$top/transport/net.c"
    echo 'MARKERINTHETEXT'
} >"$work/MARKEROFTHEFILE.txt"
vim_start zaphodsname a "$work/MARKEROFTHEFILE.txt"
vim_start trilliansname b
vims_meet zaphodsname trilliansname
vim_keys trilliansname 10G o
vim_type trilliansname 'MARKEROFTHEGUEST'
vim_keys trilliansname Escape
abuf=$(vim_eval zaphodsname 'bufnr()') bbuf=$(vim_eval trilliansname 'bufnr()')
same_text 20 zaphodsname "$abuf" trilliansname "$bbuf" || fail "texts differ"
grep -q MARKEROFTHEGUEST "$work/zaphodsname.text" || fail "no edit"
cp "$work/MARKEROFTHEFILE.txt" "$work/MARKEROFTHESECOND.txt"
first=$key
share arthursname a "$work/MARKEROFTHESECOND.txt" --open
join_spawn fordsname b "$key" "$work/got.txt"
lab_wait 30 cmp -s "$work/got.txt" "$work/MARKEROFTHESECOND.txt" ||
    fail "no second text"
stop "$join_pid"
stop "$share_pid"
vim_keys trilliansname ':CoVim leave' Enter
vim_wait zaphodsname 5 "b:covim.peers->len() == 0" || fail "not left"
vim_end trilliansname
vim_end zaphodsname

step "what is there, and what is not"
# A datagram in the clear, to see that looking works.
lab_in pub bash -c 'echo CONTROLMARKER >/dev/udp/20.0.0.11/9'
sleep 0.2
lab_wan record off
"$record" "$work/packets" packets udp bytes text:CONTROLMARKER \
    >"$work/there"
cat "$work/there"
[ "$(awk '$1 == "udp" { print $2 }' "$work/there")" -gt 200 ] ||
    fail "hardly anything was recorded"
[ "$(awk '$1 == "text:CONTROLMARKER" { print $2 }' "$work/there")" -gt 0 ] ||
    fail "the recorder does not see a text in the clear"
"$record" "$work/packets" text:MARKERINTHETEXT text:MARKEROF \
    text:MARKEROFTHEGUEST text:zaphodsname text:trilliansname \
    text:arthursname text:fordsname text:CV_NET text:covim:// \
    "key:$first" "key:$key" >"$work/hidden"
cat "$work/hidden"
! grep -v ' 0$' "$work/hidden" || fail "that can be read on the wire"
