#!/usr/bin/env bash
# A key that nobody answers to: that is said after a bounded time, with what to
# check; it is looked for until told to stop; and when somebody appears with
# that key after all, the text comes.
set -euo pipefail
# shellcheck source=tests/e2e/bad.sh
. "$(dirname "$0")/bad.sh"

bad_lab
printf 'shared text\n' >"$work/shared.txt"

step "a shares and leaves; its key is now one that nobody answers to"
vim_start a h1 "$work/shared.txt"
vim_keys a ':CoVim share --open' Enter
lab_wait 10 vim_key a || fail "no key"
key=$(vim_key a)
vim_end a

step "Vim says so in bounded time, and what to check"
printf 'mine\n' >"$work/mine.txt"
vim_start b h2 "$work/mine.txt"
vim_keys b ":CoVim join $key" Enter
vim_start c h3
vim_keys c ":CoVim join $key" Enter
started=$SECONDS
says_advice() {
    says b 'check that the other side is sharing now, that the key is whole'
}
lab_wait 15 says b 'no pointer found yet; is the other side sharing?' ||
    fail "no hint within 15 s"
vim_keys b o 'edited meanwhile' Escape

step "covim join gives up when it was told to, with exit code 3"
join d h3 "$key" "$work/never.txt" --timeout 3
[ $status = 3 ] || fail "exit code $status, not 3"
grep -q 'covim: nobody let us in within 3 s' "$work/d.err" ||
    fail "it is not said why"
[ ! -e "$work/never.txt" ] || fail "a file came of nothing"
[ ! -s "$work/d.out" ] || fail "something on standard output"

lab_wait $((started + 25 - SECONDS)) says_advice || fail "no advice within 25 s"
[ "$(vim_eval b 'covim#sessions()[0].state')" = finding ] ||
    fail "it does not go on looking"

step "leave ends the looking"
vim_keys c ':CoVim leave' Enter
vim_wait c 5 'len(covim#sessions()) == 0' || fail "it was not left"
vim_end c

step "a comes back with that key, and b gets the text"
vim_start a h1
vim_keys a ":CoVim join $key" Enter
vim_wait a 20 "bufname() =~# '^covim://' && getline(1) ==# 'shared text'" ||
    fail "a has not its own text"
abuf=$(vim_eval a 'bufnr()')
vim_wait b 40 "len(filter(getbufinfo(), 'v:val.name =~# \"^covim:\"'))" ||
    fail "b did not get the text"
[ "$(vim_eval b 'getbufline(1, 1, "$")')" = '["mine","edited meanwhile"]' ] ||
    fail "what b had was touched"
vim_wait b 10 "bufname() =~# '^covim://'" || fail "the text is not shown"
vim_keys b o 'from b' Escape
same_text 20 a "$abuf" b "$(vim_eval b 'bufnr()')" || fail "the texts differ"
grep -q 'from b' "$work/a.text" || fail "b's edit is not at a"
no_errors a
no_errors b
vim_end a
vim_end b
[ "$(cat "$work/mine.txt")" = mine ] || fail "mine.txt was written"
