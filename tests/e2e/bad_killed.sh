#!/usr/bin/env bash
# Agents killed with -9 while people type: one sentence, the text stays, they
# find each other by themselves, and everything that was typed is on both sides.
# Vim and agent killed together lose nothing that was said to be kept.
set -euo pipefail
# shellcheck source=tests/e2e/bad.sh
. "$(dirname "$0")/bad.sh"

bad_lab
head -n 300 "$top/base/addr.c" >"$work/text.c"
vim_start a h1 "$work/text.c"
vim_start b h2
vim_keys a ':CoVim share --open' Enter
lab_wait 10 vim_key a || fail "no key"
key=$(vim_key a)
vim_keys b ":CoVim join $key" Enter
vim_wait b 30 "bufname() =~# '^covim://'" || fail "no text"
vim_wait a 30 "b:covim.state ==# 'direct'" || fail "not in step"
abuf=$(vim_eval a 'bufnr()') bbuf=$(vim_eval b 'bufnr()')

declare -A told=([a]=0 [b]=0)
# told NAME: one sentence more than last time, and no question.
told() {
    local n
    n=$(vim_eval "$1" "len(filter(covim#ui#lines(), 'v:val =~# \"your text stays, starting it again\"'))")
    told[$1]=$((${told[$1]} + 1))
    [ "$n" = "${told[$1]}" ] || fail "$1 was told $n times, not ${told[$1]}"
    [ "$(vim_eval "$1" 'mode()')" = i ] || fail "$1 is not in insert mode any more"
}

# type_both WORD FROM TO: both type, a at line 100 and b at line 200.
type_both() {
    local i
    for ((i = $2; i <= $3; i++)); do
        vim_type a "a$1$i "
        vim_type b "b$1$i "
        sleep 0.02
    done
}

# killed WORD NAME…: kill the agents of these while both type.
killed() {
    local word=$1 name pids=() i text
    shift
    step "kill -9 of the agent of $*"
    vim_keys a 100G A
    vim_keys b 200G A
    type_both "$word" 1 20
    for name in "$@"; do
        pids+=("$(vim_pid "$name")")
    done
    kill -9 "${pids[@]}"
    type_both "$word" 21 60
    for name in "$@"; do
        vim_wait "$name" 10 "covim#vim#pid() != ${pids[0]} &&
            covim#rpc#state() ==# 'ready'" || fail "$name has no new agent"
        told "$name"
    done
    type_both "$word" 61 70
    vim_keys a Escape
    vim_keys b Escape
    # A connection to a killed peer is seen to be lost within seconds.
    for name in a b; do
        vim_wait $name 40 "b:covim.state ==# 'direct'" ||
            fail "$name has not met the other again"
    done
    same_text 40 a "$abuf" b "$bbuf" || fail "the texts differ"
    for ((i = 1; i <= 70; i++)); do
        for text in a b; do
            [ "$(grep -c "$text$word$i " "$work/b.text")" = 1 ] ||
                fail "$text$word$i is not there once"
        done
    done
    for name in a b; do
        vim_wait $name 10 "b:covim.unsynced == 0" ||
            fail "$name shows unsynced edits"
        no_errors $name
    done
}

killed x a
killed y b
killed z a b

step "kill -9 of both Vims and both agents; what was kept is there again"
vim_keys a 10G O
vim_type a 'the last words of a'
vim_keys a Escape
vim_keys b 250G O
vim_type b 'the last words of b'
vim_keys b Escape
for name in a b; do
    vim_wait $name 5 'covim#doc#get(bufnr()).kept == covim#doc#get(bufnr()).erev &&
        !covim#doc#get(bufnr()).dirty' || fail "$name: it was not kept"
done
lines=$(vim_eval a "line('\$')")
kill -9 "$(vim_pid a)" "$(vim_eval a 'getpid()')" \
    "$(vim_pid b)" "$(vim_eval b 'getpid()')"
for name in a b; do
    lab_wait 5 vim_gone $name || :
    unset "vim_space[$name]"
done
# Neither knows the key by heart.
vim_start b h2
vim_keys b ":CoVim resume" Enter
vim_wait b 30 "bufname() =~# '^covim://'" || fail "b has no text any more"
[ "$(vim_eval b "search('the last words of b', 'nw') > 0")" = 1 ] ||
    fail "b's last words are lost"
vim_start a h1
vim_keys a ":CoVim resume text.c" Enter
vim_wait a 30 "bufname() =~# '^covim://'" || fail "a has no text any more"
[ "$(vim_eval a 'b:covim.key')" = "$key" ] || fail "a is in another session"
same_text 40 a "$(vim_eval a 'bufnr()')" b "$(vim_eval b 'bufnr()')" ||
    fail "the texts differ"
grep -q 'the last words of a' "$work/a.text" || fail "a's last words are lost"
grep -q 'the last words of b' "$work/a.text" || fail "b's last words are lost"
[ "$(wc -l <"$work/a.text")" -ge "$lines" ] || fail "lines are lost"
no_errors a
no_errors b
vim_end a
vim_end b
