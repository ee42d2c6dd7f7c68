#!/usr/bin/env bash
# A node that is announced with one key and answers with another: nobody is
# ever connected to it, the newcomer is told why, and meets the real host when
# that is there.
set -euo pipefail
# shellcheck source=tests/e2e/bad.sh
. "$(dirname "$0")/bad.sh"

bad_lab
printf 'shared text\n' >"$work/shared.txt"
vim_start host h1 "$work/shared.txt"
vim_keys host ':CoVim share --open' Enter
lab_wait 10 vim_key host || fail "no key"
key=$(vim_key host)
vim_wait host 20 "b:covim.stage =~# 'waiting for others'" || fail "not published"

step "the host leaves, the impostor comes"
lab_spawn h3 "$work/junk.err" "$COVIM_BUILD/tests/junk" impostor "$key" \
    "$work/host/data/covim/identity" 20.0.0.1:4222
junk_pid=$lab_pid
lab_wait 20 grep -q '^found' "$work/junk.err" || fail "no pointer of the host"
vim_end host
lab_wait 20 grep -q '^published' "$work/junk.err" || fail "nothing is published"

step "a guest is told, and is not connected"
join_spawn guest h2 "$key" "$work/guest.txt"
vim_start v h2
vim_keys v ":CoVim join $key" Enter
sentence="whoever answers at the other side's address has another key than its record says; nothing was sent to it"
lab_wait 30 grep -q "$sentence" "$work/guest.err" || fail "it is not said why"
lab_wait 30 says v "$sentence" || fail "Vim does not say why"
lab_wait 10 grep -q '^knocked at' "$work/junk.err" || fail "nobody knocked"

step "the real host comes back, and they meet"
started=$SECONDS
vim_start host h1
vim_keys host ":CoVim join $key" Enter
vim_wait v 60 "bufname() =~# '^covim://' && getline(1) ==# 'shared text'" ||
    fail "v did not get the text"
lab_wait 60 cmp -s "$work/guest.txt" "$work/shared.txt" || fail "no text"
echo "met after $((SECONDS - started)) s"
! grep -q '^connected' "$work/junk.err" || fail "the impostor was connected"
grep '^attempt' "$work/junk.err" | sort | uniq -c
vim_end v
vim_end host
stop "$join_pid"
stop "$junk_pid"
