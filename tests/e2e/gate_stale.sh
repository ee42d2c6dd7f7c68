#!/usr/bin/env bash
# TCP to one gate is all that two networks let out.  Who shares is killed without
# a word, so that the pointer on the gate's shelf leads nowhere for a quarter of
# an hour; somebody joins by it.  The two are together soon after the one who
# shared is back.
set -euo pipefail
# shellcheck source=tests/netlab/lab.sh
. "$(dirname "$0")/../netlab/lab.sh"
# shellcheck source=tests/e2e/vims.sh
. "$(dirname "$0")/vims.sh"

vims_need
gate_lab tcp443only

step "a shares"
printf 'one\ntwo\n' >"$work/text.txt"
vim_start a a "$work/text.txt"
vim_keys a ':CoVim share --open' Enter
lab_wait 10 vim_key a || fail "no key"
key=$(vim_key a)
lab_wait 20 vim_log_has a 'publish due -> placed' || fail "a has no pointer"
sleep 1

step "a is killed; b joins by what it left"
kill -9 "$(vim_eval a 'covim#vim#pid()')" "$(vim_eval a 'getpid()')"
lab_wait 5 vim_gone a || :
unset "vim_space[a]"
vim_start b b
vim_keys b ":CoVim join $key" Enter
lab_wait 40 vim_log_has b 'meeting: not reached' || fail "b reached somebody"

step "a is back"
vim_start a a
vim_keys a ":CoVim join $key" Enter
vim_wait a 30 "bufname() =~# '^covim://'" || fail "a has no text any more"
since=$(date +%s%N)
vim_wait b 60 "bufname() =~# '^covim://'" || fail "b got no text"
took=$((($(date +%s%N) - since) / 1000000))
echo "b has the text $took ms after a was back"
[ $took -lt 15000 ] || fail "so late"
# Nobody was there: that is no fault of the network.
! vim_log_has b 'not reached.*1200 bytes' || fail "b blames the network"
vim_end a
vim_end b
step "done"
