#!/usr/bin/env bash
# Two people read along what a third one writes: they cannot change it, lose
# nothing that they write all the same, see each other, and go on after a crash
# of the one whom they read.
#   readonly_vims.sh vim|nvim     the editor of those who read
set -euo pipefail
# shellcheck source=tests/netlab/lab.sh
. "$(dirname "$0")/../netlab/lab.sh"
# shellcheck source=tests/e2e/vims.sh
. "$(dirname "$0")/vims.sh"

# both_read N TEXT: line N of the two who read along is that.
both_read() {
    local name
    for name in b c; do
        vim_wait "$name" 20 "getline($1) ==# '$2'" ||
            fail "$name does not read \"$2\""
    done
}

vims_need
seq -f 'line %g of the text' 200 >"$work/text.txt"
vims_pair "${1:-vim}" "$work/text.txt" --readonly
vim_program=${1:-vim} vim_start c c
vim_keys c ":CoVim join $(vim_key a)" Enter
vim_wait c 40 "bufname() =~# '^covim://'" || fail "c did not get the text"

step "what is written reaches those who read"
vim_keys a 'ggOfrom a' Escape
both_read 1 'from a'

step "they cannot write"
for keys in ix dd u; do
    vim_keys b "$keys" Escape
done
vim_wait b 5 "covim#statusline() =~# 'read-only'" || fail "b is not told"
vim_keys b ':CoVim revert a' Enter
vim_wait b 5 "execute('messages') =~# 'you may read this text'" ||
    fail "b may revert"
[ "$(vim_eval b "getline(1) . line('\$')")" = "from a201" ] ||
    fail "b's text is another one"

step "what they write all the same is kept aside"
vim_keys b ':set modifiable' Enter 'ggomine' Escape
vim_wait b 10 "bufnr('covim-kept-1-text.txt') > 0" || fail "nothing is kept"
vim_wait b 5 "getline(2) ==# 'line 1 of the text'" || fail "b's text is another"
[ "$(vim_eval b "getbufline('covim-kept-1-text.txt', 2)[0]")" = mine ] ||
    fail "what b wrote is lost"
[ "$(vim_eval a "line('\$')")" = 201 ] || fail "b changed a's text"

step "they see each other"
vim_keys c 77G
c_is="v:val.name ==# 'c' && v:val.line == 77"
vim_wait b 10 "filter(copy(covim#doc#get(bufnr()).places), \"$c_is\") != []" ||
    fail "b does not see c"

step "a's agent is killed"
kill -9 "$(vim_eval a "has('nvim') ? covim#nvim#pid() : covim#vim#pid()")"
vim_keys a 'Goafter the crash' Escape
both_read 202 'after the crash'
same_text 20 a "$abuf" b "$bbuf" c "$(vim_eval c "bufnr('covim://')")" ||
    fail "the texts differ"
