#!/usr/bin/env bash
# A mistyped key: it is said where it is wrong, at once, and nothing starts.
set -euo pipefail
# shellcheck source=tests/e2e/bad.sh
. "$(dirname "$0")/bad.sh"

bad_lab
printf 'shared text\n' >"$work/shared.txt"
share host pub "$work/shared.txt" --open

# wrong KEY SENTENCE: covim join refuses it with exactly that.
wrong() {
    join guest h1 "$1" "$work/never.txt"
    [ $status = 2 ] || fail "exit code $status, not 2, for \"$1\""
    [ "$(cat "$work/guest.err")" = "covim: $2" ] || fail "\"$1\": no \"$2\""
    [ ! -s "$work/guest.out" ] || fail "something on standard output"
    [ ! -e "$work/never.txt" ] || fail "a file came of a mistyped key"
}

# other CHARACTER: one that is as good in a key, but not that one.
other() {
    [ "$1" = q ] && echo p || echo q
}

at() {
    echo "${key:$1-1:1}"
}

one=${key:0:19}$(other "$(at 20)")${key:20}
two=${one:0:49}$(other "$(at 50)")${one:50}

step "covim join says where"
wrong "$one" "mistyped: character 20 ('$(other "$(at 20)")') is wrong"
wrong "$two" "mistyped: characters 20 ('$(other "$(at 20)")') and 50 ('$(
    other "$(at 50)")') are wrong"
wrong "${key:0:30}b${key:31}" "mistyped: character 31 ('b') is wrong"
wrong "${key:0:64}" \
    "mistyped or incomplete (length 64, expected 65 or 90)"
lab_in h1 "$covim" key --data-dir "$work/id" >"$work/identity"
join guest h1 "$(head -n 1 "$work/identity")" "$work/never.txt"
[ $status = 2 ] || fail "exit code $status for the key of a person"
grep -q 'identity' "$work/guest.err" || fail "it is not said what it is"

step "so does Vim"
printf 'mine\n' >"$work/mine.txt"
vim_start v h1 "$work/mine.txt"
vim_keys v 'onot saved' Escape
vim_keys v ":CoVim join $one" Enter
vim_wait v 10 "execute('messages') =~# 'character 20'" || fail "nothing said"
vim_screen v | tr -d '\n' | grep -q 'covim: join: mistyped: character 20' ||
    fail "the sentence is not on the screen"
[ "$(vim_eval v 'len(covim#sessions())')" = 0 ] || fail "a session was made"
[ "$(vim_eval v "len(getbufinfo({'buflisted': 1}))")" = 1 ] ||
    fail "a buffer was made"
[ "$(vim_eval v 'getline(1, "$")')" = '["mine","not saved"]' ] ||
    fail "the text was touched"

step "and the right one still works, pasted in pieces and in capitals"
vim_keys v ":CoVim join $key" Enter
vim_wait v 20 "bufname() =~# '^covim://' && getline(1) ==# 'shared text'" ||
    fail "no text"
[ "$(cat "$work/mine.txt")" = mine ] || fail "the file was touched"
no_errors v
join_spawn other h2 "$(tr "[:lower:]" "[:upper:]" <<<" ${key:0:30} ${key:30}")" \
    "$work/other.txt"
lab_wait 20 cmp -s "$work/other.txt" "$work/shared.txt" || fail "no text"
stop "$join_pid"
vim_end v
stop "$share_pid"
[ "$(cat "$work/shared.txt")" = 'shared text' ] || fail "the text was changed"
