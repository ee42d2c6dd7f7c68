#!/usr/bin/env bash
# Two Vims write in one text; `u` and CTRL-R in one take back and do again what
# that one did, and never anything of the other.
set -euo pipefail
# shellcheck source=tests/netlab/lab.sh
. "$(dirname "$0")/../netlab/lab.sh"
# shellcheck source=tests/e2e/vims.sh
. "$(dirname "$0")/vims.sh"

# both_have LINE…: both Vims, within 10 s.
both_have() {
    local want name
    want=$(printf "'%s', " "$@")
    for name in a b; do
        vim_wait "$name" 10 "getline(1, '\$') ==# [${want%, }]" >/dev/null ||
            fail "$name has not $want"
    done
}

# at NAME LINE COLUMN: where the cursor is.
at() {
    local place
    place=$(vim_eval "$1" "line('.') .. ',' .. col('.')")
    [ "$place" = "$2,$3" ] || fail "the cursor of $1 is at $place, not $2,$3"
}

vims_need
vims_lab
printf 'one\ntwo\nthree\n' >"$work/text.txt"
vim_start a a "$work/text.txt"
vim_start b b
vim_keys a ':CoVim share --open' Enter
lab_wait 10 vim_key a || fail "a shows no key"
vim_keys b ":CoVim join $(vim_key a)" Enter
vim_wait b 30 "bufname() =~# '^covim://'" || fail "b did not get the text"
both_have one two three

step "each types, in other lines and in the same; a undoes its own"
vim_keys a ggA
vim_type a " of a"
vim_keys a Escape
both_have 'one of a' two three
vim_keys a 3GA
vim_type a " mine"
vim_keys a Escape
both_have 'one of a' two 'three mine'
vim_keys b 2GA
vim_type b " of b"
vim_keys b Escape
vim_keys b 3G0fmlli
vim_type b "XY"
vim_keys b Escape
both_have 'one of a' 'two of b' 'three miXYne'
vim_keys a u
both_have 'one of a' 'two of b' 'threeXY'
at a 3 6
vim_keys a u
both_have one 'two of b' threeXY
at a 1 3
vim_keys a u
sleep 0.3
both_have one 'two of b' threeXY
vim_screen a | grep -q 'nothing more to undo' || fail "a is not told that this is all"

step "b writes, and a can still redo"
vim_keys b 2GO
vim_type b "between"
vim_keys b Escape
both_have one between 'two of b' threeXY
vim_keys a 2 C-r
both_have 'one of a' between 'two of b' 'three miXYne'
vim_keys a 9 C-r
both_have 'one of a' between 'two of b' 'three miXYne'

step "one insert is one undo, although b writes meanwhile"
vim_keys a Go
vim_type a "first "
both_have 'one of a' between 'two of b' 'three miXYne' 'first '
vim_keys b 1GI
vim_type b "above"
vim_keys b Enter Escape
both_have above 'one of a' between 'two of b' 'three miXYne' 'first '
vim_type a "second"
vim_keys a Enter
vim_type a "third"
vim_keys a Escape
both_have above 'one of a' between 'two of b' 'three miXYne' 'first second' third
vim_keys a u
both_have above 'one of a' between 'two of b' 'three miXYne'

step "what a deleted of b comes back, once"
vim_keys a 3Gdd
both_have above 'one of a' 'two of b' 'three miXYne'
vim_keys a u
both_have above 'one of a' between 'two of b' 'three miXYne'
at a 3 1
vim_keys a C-r
both_have above 'one of a' 'two of b' 'three miXYne'
vim_keys a u
both_have above 'one of a' between 'two of b' 'three miXYne'

step "keys typed without a pause find the text as it is after undo"
vim_keys a 2G0 x u x u x u
sleep 0.3
both_have above 'one of a' between 'two of b' 'three miXYne'
vim_keys a ':CoVim redo' Enter
sleep 0.3
[ "$(vim_eval a 'getline(2)')" = 'ne of a' ] || fail ":CoVim redo does nothing"
vim_keys a ':CoVim undo' Enter
both_have above 'one of a' between 'two of b' 'three miXYne'

step "b undoes everything of b's, then a its own"
vim_keys b 50u
both_have 'one of a' between two 'three mine'
vim_keys a 50u
both_have one between two three

step "with g:covim_undo native, u is that of the editor"
vim_keys b Go 'last' Escape
both_have one between two three last
vim_keys a ":let g:covim_undo = 'native'" Enter u
vim_wait a 10 "index(getline(1, '\$'), 'last') < 0" || fail "u is not native"
vim_end a
vim_end b
step "done"
