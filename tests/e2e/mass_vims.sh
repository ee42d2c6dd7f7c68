#!/usr/bin/env bash
# Two Vims, and one command that changes thousands of places in a long file: the
# other Vim has them within a moment, in few edits, and who types there meanwhile
# types on in the same line.
set -euo pipefail
# shellcheck source=tests/netlab/lab.sh
. "$(dirname "$0")/../netlab/lab.sh"
# shellcheck source=tests/e2e/vims.sh
. "$(dirname "$0")/vims.sh"

lines=20000 # of which one in ten is changed

vims_need
vims_lab
for ((i = 1; i <= lines; i++)); do
    echo "line $i has an apple and other words in it"
done >"$work/text.txt"

vim_start a a "$work/text.txt"
vim_start b b
vim_keys a ':CoVim share --open' Enter
lab_wait 10 vim_key a || fail "a shows no key"
vim_keys b ":CoVim join $(vim_key a)" Enter
vim_wait b 30 "bufname() =~# '^covim://' && line('\$') == $lines"
abuf=$(vim_eval a 'bufnr()') bbuf=$(vim_eval b 'bufnr()')

# changes WHAT COMMAND: in a, while b types in line 10005.
typed=
changes() {
    local before word=word$((RANDOM % 900 + 100)) i
    before=$(vim_eval b 'covim#doc#stats().applied')
    vim_keys b Escape /line Space 10005 Space Enter A
    vim_wait b 10 "mode() ==# 'i'"
    vim_keys a Escape "$2" Enter
    for ((i = 0; i < ${#word}; i++)); do
        vim_type b "${word:i:1}"
        sleep 0.05
    done
    typed+=$word
    same_text 30 a "$abuf" b "$bbuf" || fail "the texts differ after $1"
    step "$1: $(vim_eval b "covim#doc#stats().applied - $before") edits"
    [ "$(vim_eval b "covim#doc#stats().applied - $before")" -lt 2000 ] ||
        fail "$1 came in too many edits"
    [ "$(vim_eval b "getline('.')")" = \
        "$(sed -n '/^\W*line 10005 /p' "$work/a.text")" ] ||
        fail "b is in another line after $1"
    grep -q "^\W*line 10005 has .*$typed\$" "$work/a.text" ||
        fail "what b typed is not in its line after $1"
    vim_keys b Escape
}

changes 'substituting' ':g/3 has/s/apple/pear/'
[ "$(grep -c pear "$work/b.text")" = $((lines / 10)) ] || fail "no pears"
changes 'deleting' ':g/7 has/d'
[ "$(wc -l <"$work/b.text")" = $((lines * 9 / 10)) ] || fail "not deleted"
changes 'adding' ':g/1 has/t.'
[ "$(wc -l <"$work/b.text")" = $lines ] || fail "not added"
changes 'indenting' ':%>'

# All of it is taken back, a step each, and b's words stay.
for what in indenting adding deleting substituting; do
    vim_keys a Escape u
    same_text 30 a "$abuf" b "$bbuf" || fail "the texts differ"
    step "$what is taken back"
done
sed "s/^\(line 10005 .*\)/\1$typed/" "$work/text.txt" |
    cmp - "$work/a.text" || fail "it is not what it was"
vim_end a
vim_end b
