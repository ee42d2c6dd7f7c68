#!/usr/bin/env bash
# Two real Vims behind two NATs share one real file by a pasted key, work in it
# at once in every way, and have the same text at the end; a third joins later;
# leaving withdraws what was published.  The lab is drawn in vims.sh.
set -euo pipefail
# shellcheck source=tests/netlab/lab.sh
. "$(dirname "$0")/../netlab/lab.sh"
# shellcheck source=tests/e2e/vims.sh
. "$(dirname "$0")/vims.sh"

vims_need
vims_lab
make_source "$work/big.c"
printf 'mine\n' >"$work/mine.txt"

step "a shares, b joins with the key"
vim_start a a "$work/big.c"
vim_start b b "$work/mine.txt"
vim_keys b 'onot saved' Escape
vim_keys a ':CoVim share' Enter
lab_wait 10 vim_key a || fail "a shows no key"
key=$(vim_key a)
vim_keys b ":CoVim join $key" Enter
vim_wait a 30 "covim#statusline() =~# 'knocks'" || fail "nobody knocks at a"
[ "$(vim_eval b 'len(filter(getbufinfo(), "v:val.name =~# \"^covim:\""))')" = 0 ] ||
    fail "b has a text before it was let in"
vim_keys a ':CoVim accept' Enter
vim_wait b 30 "bufname() =~# '^covim://' && line('\$') >= 5000" ||
    fail "b did not get the text"
abuf=$(vim_eval a 'bufnr()') bbuf=$(vim_eval b 'bufnr()')
same_text 10 a "$abuf" b "$bbuf" || fail "the first text differs"

step "both type in one line at once"
vim_keys a 100G A
vim_keys b 100G I
for i in $(seq 25); do
    vim_type a "alpha$i "
    vim_type b "beta$i "
done
vim_keys a Escape
vim_keys b Escape

step "in different places, with 2,000 lines pasted"
vim_keys a 200G o
vim_keys b ':let @a = join(map(range(2000), "\"pasted \" .. v:val"), "\n") .. "\n"' \
    Enter 4000G '"ap'
for i in $(seq 20); do
    vim_type a "gamma$i "
done
vim_keys a Escape

same_text 60 a "$abuf" b "$bbuf" || fail "the texts differ"
for i in $(seq 25); do
    grep -q "alpha$i " "$work/a.text" || fail "alpha$i is lost"
    grep -q "beta$i " "$work/a.text" || fail "beta$i is lost"
done
for i in $(seq 20); do
    grep -q "gamma$i " "$work/a.text" || fail "gamma$i is lost"
done
[ "$(grep -c '^pasted' "$work/a.text")" = 2000 ] || fail "the paste is torn"

step ":g and a macro in a, :%s and a macro in b"
vim_keys a ':g/^pasted [0-9]*7$/d' Enter
vim_keys b ':%s/int /long /ge' Enter
vim_keys b 50G 'qqAmacro' Escape 'jq20@q'
vim_keys a 150G 'qwIm2' Escape 'jq20@w'
same_text 60 a "$abuf" b "$bbuf" || fail "the texts differ"
[ "$(grep -c '^pasted' "$work/a.text")" = 1800 ] ||
    fail "$(grep -c '^pasted' "$work/a.text") pasted lines, not 1800"
[ "$(grep -c 'macro$' "$work/a.text")" -ge 21 ] || fail "b's macro is lost"
[ "$(grep -c '^[[:space:]]*m2' "$work/a.text")" -ge 21 ] || fail "a's macro is lost"
! grep -q 'int ' "$work/a.text" || fail ":%s left something"

step "dd, p, J, u, :m, :sort, paragraphs, filters, all at once"
vim_keys a 300G dd 10j p
vim_keys b ':900,950m 100' Enter
vim_keys a 700G J 5J '>>' u
vim_keys b ':sort /pasted/' Enter
vim_keys a 1000G dap P
vim_keys b ':1100,1150!tac' Enter
same_text 60 a "$abuf" b "$bbuf" || fail "the texts differ"

step "what b had is untouched"
[ "$(cat "$work/mine.txt")" = mine ] || fail "mine.txt was written"
[ "$(vim_eval b 'getbufline(1, 1, "$")')" = '["mine","not saved"]' ] ||
    fail "b's other buffer was changed"

step "a third one joins later and gets everything"
vim_start c c
vim_keys c ":CoVim join $key" Enter
vim_wait a 30 "covim#statusline() =~# 'knocks'" || fail "c does not knock"
vim_keys a ':CoVim accept c' Enter
vim_wait c 30 "bufname() =~# '^covim://'" || fail "c did not get the text"
cbuf=$(vim_eval c 'bufnr()')
same_text 30 a "$abuf" b "$bbuf" c "$cbuf" || fail "c has another text"
vim_keys c gg O 'from c' Escape
same_text 30 a "$abuf" b "$bbuf" c "$cbuf" || fail "c's edit did not arrive"
[ "$(head -n 1 "$work/b.text")" = 'from c' ] || fail "b misses c's edit"

step "leaving withdraws presence and pointer"
vim_keys b ':CoVim leave' Enter
vim_wait a 5 "b:covim.peers->len() == 1" || fail "a still sees b"
[ "$(vim_eval b "line('\$') > 5000")" = 1 ] || fail "b's text is gone"
vim_end c
vim_wait a 5 "b:covim.peers->len() == 0" || fail "a still sees c"
vim_end a
status=0
lab_in c "$covim" join --data-dir "$work/late" --bootstrap 20.0.0.1:4222 \
    --stun 20.0.0.1:3478 --no-lan --timeout 8 "$key" "$work/late.c" \
    >"$work/late.log" 2>&1 </dev/null || status=$?
[ $status = 3 ] || {
    cat "$work/late.log"
    fail "a join after all have left ended with $status, not 3"
}
vim_end b
[ ! -e "$work/late.c" ] || fail "a file came of nothing"
step "done"
