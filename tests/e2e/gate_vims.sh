#!/usr/bin/env bash
# Two real Vims with nothing between them but one gate.  The gate is killed, and
# comes back; then its network swallows every packet, and comes back.  Each time
# both status lines say so within five seconds, what is typed meanwhile is kept,
# and the texts become equal again.
#
#   gate_vims.sh tls|udp       who carries them: TCP is all that leaves the two
#                              networks, or UDP goes to the gate as well
set -euo pipefail
# shellcheck source=tests/netlab/lab.sh
. "$(dirname "$0")/../netlab/lab.sh"
# shellcheck source=tests/e2e/vims.sh
. "$(dirname "$0")/vims.sh"

fail_also() {
    tail -n 20 "$work/gate.log"
}

now_ms() {
    echo $(($(date +%s%N) / 1000000))
}

carrier=${1:-tls}

# shows NAME PATTERN: the status line, as it is on the screen.
shows() {
    vim_screen "$1" | tail -n 2 | grep -q "co:$2"
}

# said NAME MS: it says "offline" so many milliseconds after $since.
said() {
    local took
    lab_wait 10 shows "$1" '- offline' || fail "$1 does not say so"
    took=$(($(now_ms) - since))
    echo "$1 says \"offline\" after $took ms"
    [ $took -le "$2" ] || fail "$1 says so after $took ms only"
}

# Each in a line of its own, by keys like any others.
type_into() { # NAME TEXT
    vim_keys "$1" Escape Go
    vim_type "$1" "$2"
    vim_keys "$1" Escape
}

together() { # SECONDS
    for name in a b; do
        lab_wait "$1" shows "$name" '2 gate' || fail "$name does not come back"
    done
    same_text 20 a "$abuf" b "$bbuf" || fail "the texts differ"
}

has() { # TEXT…: a line each, once, in both
    local text name
    for text; do
        for name in a b; do
            [ "$(grep -c -x "$text" "$work/$name.text")" = 1 ] ||
                fail "\"$text\" is not once in the text of $name"
        done
    done
}

vims_need
case $carrier in
tls) gate_lab tcp443only ;;
udp) gate_lab symmetric ;;
esac

step "a shares, b joins, over the gate ($carrier)"
printf 'one\ntwo\n' >"$work/text.txt"
vim_start a a "$work/text.txt"
vim_start b b
vims_meet a b
vim_wait b 30 "getline(2) ==# 'two'" ||
    fail "b did not get the text"
vim_keys a Escape Escape
abuf=$(vim_eval a 'bufnr("text.txt")') bbuf=$(vim_eval b 'bufnr()')
together 20

step "what they type goes by $carrier"
# Packets of UDP that a sent to the gate.
udp_to_gate() {
    lab_wan count | sed -n '/"from":"a-nat".*"to":"g"/s/.*"udp":\([0-9]*\).*/\1/p'
}
grows() {
    type_into a .
    [ "$(udp_to_gate)" -gt "$1" ]
}
if [ "$carrier" = udp ]; then
    lab_wait 10 grows $(($(udp_to_gate) + 30)) || fail "nothing goes over UDP"
else
    type_into a .
    [ "$(udp_to_gate)" = 0 ] || fail "UDP got out"
fi
together 10

step "the gate is killed; nobody types"
since=$(now_ms)
kill -9 "$gate_pid"
said a 5000
said b 5000

step "both type meanwhile"
type_into a 'from a, killed'
type_into b 'from b, killed'
[ "$(vim_eval a "getbufline($abuf, '\$')[0]")" = 'from a, killed' ] ||
    fail "a's line is not in its own text"

step "the gate comes back"
start_gate
since=$(now_ms)
together 30
echo "together again $(($(now_ms) - since)) ms after the gate was started"
has 'from a, killed' 'from b, killed'

step "its network swallows every packet while somebody types"
lab_wan cut g '*'
since=$(now_ms)
type_into a 'from a, silent'
type_into b 'from b, silent'
said a 6000
said b 6000
for name in a b; do
    lab_wait 5 vim_log_has "$name" 'the gate does not answer any more' ||
        fail "the link of $name was not seen to be dead"
done

step "and lets them through again"
lab_wan restore
since=$(now_ms)
together 30
echo "together again $(($(now_ms) - since)) ms after that"
has one two 'from a, killed' 'from b, killed' 'from a, silent' 'from b, silent'
vim_end a
vim_end b
step "done"
