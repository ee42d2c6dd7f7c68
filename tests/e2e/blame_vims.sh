#!/usr/bin/env bash
# Who wrote what, and taking back all that one person did: the sharer and a
# guest in Vim and another guest in Neovim, or the other way round.
#   blame_vims.sh vim|nvim      the editor of the one who reverts
set -euo pipefail
# shellcheck source=tests/netlab/lab.sh
. "$(dirname "$0")/../netlab/lab.sh"
# shellcheck source=tests/e2e/vims.sh
. "$(dirname "$0")/vims.sh"

mine=${1:-vim}
other=nvim
[ "$mine" = nvim ] && other=vim

# all_have LINE…: all of them, within 10 s.
all_have() {
    local want name
    want=$(printf "'%s', " "$@")
    for name in a b c; do
        vim_wait "$name" 10 "getline(1, '\$') ==# [${want%, }]" >/dev/null ||
            fail "$name has not $want"
    done
}

# says NAME LINE TEXT: that is who wrote that line, as NAME shows it.
says() {
    vim_wait "$1" 10 "index(map(copy(covim#blame#items(bufnr('%'))), 'v:val[:1]'), [$2, '$3']) >= 0" \
        >/dev/null || fail "behind line $2 of $1 there is no $3"
}

# shows NAME TEXT: somewhere on the screen.
shows() {
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        vim_screen "$1" | grep -qE "$2" && return 0
        sleep 0.1
    done
    fail "$1 does not show $2"
}

vims_need
command -v nvim >/dev/null || lab_skip "nvim is not installed"
vims_lab
printf 'one\ntwo\nthree\nfour\n' >"$work/text.txt"
vim_program=$other vim_start a a "$work/text.txt"
vim_program=$mine vim_start b b
vim_program=$other vim_start c c
vim_keys a ':CoVim share --open' Enter
lab_wait 10 vim_key a || fail "a shows no key"
key=$(vim_key a)
for name in b c; do
    vim_keys "$name" ":CoVim join $key" Enter
    vim_wait "$name" 40 "bufname() =~# '^covim://'" ||
        fail "$name did not get the text"
done
all_have one two three four

step "everybody sees who wrote what"
vim_keys c 2GA
vim_type c " of c"
vim_keys c Escape
all_have one 'two of c' three four
vim_keys b Go
vim_type b "five of b"
vim_keys b Escape
all_have one 'two of c' three four 'five of b'
vim_keys b ':CoVim blame' Enter
says b 1 'a'
says b 2 'c, a'
says b 5 'you'
vim_keys a ':CoVim blame' Enter
says a 1 'you'
says a 2 'c, you'
says a 5 'b'

shows a 'three +you *$'
shows b 'three +a *$'
shows b 'five of b +you *$'

step "it follows what is typed, here and there"
vim_keys c 1GO
vim_type c "zero of c"
vim_keys c Escape
all_have 'zero of c' one 'two of c' three four 'five of b'
says b 1 'c'
says b 3 'c, a'
says a 6 'b'
vim_keys b 4Gdd
all_have 'zero of c' one 'two of c' four 'five of b'
says a 4 'you'
vim_keys b ':1,3CoVim blame' Enter
shows b 'covim: c .*2 lines'
vim_keys a ':CoVim blame' Enter
vim_wait a 10 "covim#blame#items(bufnr('%')) ==# []" || fail 'blame does not end'
sleep 0.3
vim_screen a | grep -qE 'four +you' && fail 'blame is still shown'

step "a line of a and one of b are deleted by c"
vim_keys c 4Gdd
all_have 'zero of c' one 'two of c' 'five of b'
vim_keys c 4GI
vim_type c "more "
vim_keys c Escape
vim_keys c 4G0www
vim_keys c D
all_have 'zero of c' one 'two of c' 'more five of '

step "b reverts c: asked first, then done, and only what c did"
vim_keys b ':CoVim revert c' Enter
shows b 'insertion'
shows b 'Text of others stays'
vim_keys b c
sleep 0.3
all_have 'zero of c' one 'two of c' 'more five of '
vim_keys b ':CoVim revert c' Enter
shows b 'Text of others stays'
vim_keys b r
all_have one two four 'five of b'
says b 1 'a'
says b 3 'you'

step "u takes the revert back, CTRL-R does it again"
vim_keys b u
all_have 'zero of c' one 'two of c' 'more five of '
vim_keys b C-r
all_have one two four 'five of b'
vim_keys b ':CoVim revert! c' Enter
shows b 'nothing is left'
vim_keys b ':CoVim revert! b' Enter
shows b 'that is you'

step "names are completed"
names=$(vim_eval b "join(getcompletion('CoVim revert ', 'cmdline'))")
[ "$names" = 'a c' ] || fail "completed: $names"

step "what a shared stays, when a is reverted"
vim_keys a GA
vim_type a "!"
vim_keys a Escape
all_have one two four 'five of b!'
vim_keys b ':CoVim revert! a' Enter
all_have one two four 'five of b'

step "of two with one name, the fingerprint tells"
vim_program=$mine vim_start d c
vim_keys d ":let g:covim_name = 'c'" Enter ":CoVim join $key" Enter
vim_wait d 40 "bufname() =~# '^covim://'" || fail "d did not get the text"
vim_keys d GA
vim_type d " and d"
vim_keys d Escape
all_have one two four 'five of b and d'
vim_keys b ':CoVim revert! c' Enter
shows b 'several are called so'
vim_keys b Enter # the message is longer than a line
print=$(vim_eval d 'covim#rpc#hello().fingerprint')
names=$(vim_eval b "join(getcompletion('CoVim revert ', 'cmdline'))")
grep -q "$print" <<<"$names" || fail "completed: $names, not $print"
vim_keys b ":CoVim revert! ${print:0:7}" Enter
all_have one two four 'five of b'
vim_end a
vim_end b
vim_end c
vim_end d
step "done"
