#!/usr/bin/env bash
# No network at all: a host with only loopback, and one without even that.  It
# is said, the editor works on, and when the network comes up people meet.
set -euo pipefail
# shellcheck source=tests/e2e/bad.sh
. "$(dirname "$0")/bad.sh"

bad_lab
lab_space only
lab_space bare
ip -n "$lab_id-bare" link set lo down
printf 'of only\n' >"$work/only.txt"
printf 'of bare\n' >"$work/bare.txt"

# Both share from the beginning; both are told within 15 s.
for name in only bare; do
    step "share on a host with \"$name\""
    vim_start $name $name "$work/$name.txt"
    vim_keys $name ':CoVim share --open' Enter
    lab_wait 10 vim_key $name || fail "$name shows no key"
    vim_keys $name o
    vim_type $name 'typed without a network'
    vim_keys $name Escape
    vim_wait $name 5 "getline(2) ==# 'typed without a network'" ||
        fail "$name cannot be edited"
done
for name in only bare; do
    lab_wait 15 says $name 'others cannot find this session; check the network' ||
        fail "$name is not told"
    vim_keys $name o
    vim_type $name 'and still'
    vim_keys $name Escape
    vim_wait $name 5 "getline(3) ==# 'and still'" || fail "$name hangs"
done
join alone bare "$(vim_key only)" "$work/never.txt" --timeout 14
[ $status = 3 ] || [ $status = 5 ] || fail "exit code $status, not 3 or 5"
grep -q 'check the network\|no usable network\|DHT: \|the DHT is' \
    "$work/alone.err" || fail "covim join does not say why"
[ ! -e "$work/never.txt" ] || fail "a file came of nothing"

step "leaving without a network is quick"
vim_start late bare
vim_keys late ":CoVim join $(vim_key only)" Enter
vim_wait late 5 'len(covim#sessions()) == 1' || fail "nothing is looked for"
started=$SECONDS
vim_end late
[ $((SECONDS - started)) -le 6 ] || fail "leaving took $((SECONDS - started)) s"

step "the network comes up, and others join"
vim_start guest h1
vim_keys guest ":CoVim join $(vim_key only)" Enter
lab_plug only 20.0.0.31
ip -n "$lab_id-bare" link set lo up
lab_plug bare 20.0.0.32
started=$SECONDS
vim_wait guest 60 "bufname() =~# '^covim://' && getline(3) ==# 'and still'" ||
    fail "the text of only did not come"
echo "only: met $((SECONDS - started)) s after the network came up"
join_spawn guest2 h2 "$(vim_key bare)" "$work/got.txt"
lab_wait 60 grep -qs 'and still' "$work/got.txt" ||
    fail "the text of bare did not come"
echo "bare: met $((SECONDS - started)) s after the network came up"
grep -q 'typed without a network' "$work/got.txt" || fail "a line is missing"
for name in only bare guest; do
    no_errors $name
    vim_end $name
done
stop "$join_pid"
[ "$(cat "$work/only.txt")" = "of only" ] || fail "only.txt was written"
