#!/usr/bin/env bash
# One writes while the other presses no key, in every mode in which text of
# others may come: all of it comes, one edit after another, and each knows where
# the other one is.
#   still_vims.sh vim|nvim      the editor of the one who is still
set -euo pipefail
# shellcheck source=tests/netlab/lab.sh
. "$(dirname "$0")/../netlab/lab.sh"
# shellcheck source=tests/e2e/vims.sh
. "$(dirname "$0")/vims.sh"

# sees A B: A is told where B is.
sees() {
    local is
    is=$(vim_eval "$2" "[line('.'), col('.') - 1]" | tr -d ' ')
    vim_wait "$1" 10 "map(copy(covim#doc#get(bufnr()).places), '[v:val.line, v:val.col]') == [$is]" ||
        fail "$2 is at $is, and $1 does not know it"
}

# still KEYS…: b presses them, and then none.
still() {
    local mode at
    step "b: $*"
    vim_keys b "$@"
    vim_wait a 10 "covim#doc#get(bufnr()).places != []" || fail "a does not see b"
    sleep 0.2
    sees a b
    mode=$(vim_eval b 'mode()')
    at=$(vim_eval b "getline('.')")
    # Bursts of edits, and edits that come one by one.
    vim_keys a ggO 'first' Enter 'second' Enter 'third' Escape
    same_text 10 a "$abuf" b "$bbuf" || fail "b has not the new lines"
    for keys in '30Gx' '40Gdd' '10GAend' '2GJ'; do
        vim_keys a Escape "$keys"
        same_text 10 a "$abuf" b "$bbuf" || fail "b has not $keys"
        sees b a
        sees a b
    done
    vim_keys a Escape
    [ "$(vim_eval b 'mode()')" = "$mode" ] || fail "b is in another mode"
    [ "$(vim_eval b "getline('.')")" = "$at" ] || fail "b is in another line"
    vim_keys b Escape
    sleep 0.3
}

vims_need
seq -f 'line %g of the text' 60 >"$work/text.txt"
vims_pair "${1:-vim}" "$work/text.txt"
for name in a b; do
    vim_keys $name ':set ttimeout ttimeoutlen=10' Enter
done

still 50G
still 50Gi
still 50GA
still 50GR
still 50G w v e
still 50G V j
still 50G C-v j l
vim_keys b 50G
sleep 0.3 # it is told; and then another line is at the same place
still yyP
# Another plugin, which makes Vim forget that it waits.
vim_keys b ":call timer_start(300, {-> execute('silent! normal! m]')}, {'repeat': -1})" Enter
still 50G
still 50G V j
for name in a b; do
    no_errors $name
    vim_end $name
done
