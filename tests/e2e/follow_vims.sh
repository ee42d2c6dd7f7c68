#!/usr/bin/env bash
# One follows another through the text: over jumps, and while text comes and
# goes; any key of his own ends it, and another window of his is not touched.
#   follow_vims.sh vim|nvim     the editor of the one who follows
set -euo pipefail
# shellcheck source=tests/netlab/lab.sh
. "$(dirname "$0")/../netlab/lab.sh"
# shellcheck source=tests/e2e/vims.sh
. "$(dirname "$0")/vims.sh"

# follows_to LINE: that is where b's window is, and it still follows.
follows_to() {
    vim_wait b 10 "line('.') == $1" || fail "b is not in line $1"
    sleep 0.2 # were it going to end, it would have
    [ "$(vim_eval b 'covim#follow#whom()')" = a ] || fail "b does not follow a any more"
}

# ended LINE: b follows nobody, and does not go there.
ended() {
    vim_wait b 10 "covim#follow#whom() ==# ''" || fail "b still follows"
    vim_keys a "$1G"
    vim_wait b 10 "get(get(covim#doc#get(bufnr()).places, 0, {}), 'line') == $1" ||
        fail "b does not know where a is"
    [ "$(vim_eval b "line('.')")" != "$1" ] || fail "b went along"
}

vims_need
seq -f 'line %g of the text' 500 >"$work/text.txt"
vims_pair "${1:-vim}" "$work/text.txt"
vim_wait a 10 "covim#doc#get(bufnr()).places != []" || fail "a does not see b"

step "a jump, and back"
vim_keys a 300G
vim_wait b 10 "get(get(covim#doc#get(bufnr()).places, 0, {}), 'line') == 300" ||
    fail "b does not see a"
vim_keys b ':CoVim jump a' Enter
vim_wait b 10 "line('.') == 300" || fail "b did not jump"
vim_keys b C-o
vim_wait b 10 "line('.') == 1" || fail "b did not come back"

step "b follows"
vim_keys b ':CoVim follow' Enter
follows_to 300
vim_wait a 10 "covim#doc#get(bufnr()).places == []" || fail "a still sees b"
for line in 20 480 250; do
    vim_keys a "${line}G"
    follows_to "$line"
done
[[ "$(vim_eval b 'covim#statusline()')" == *' follows a' ]] ||
    fail "the status line does not say it"

step "while text comes and goes"
vim_keys a ggO
vim_type a 'one'
vim_keys a Enter
vim_type a 'two'
follows_to 2
vim_screen b | grep -qE '^two +a ' || fail "a's name is not behind his line"
vim_keys a Escape 100Gdd20ddP
follows_to "$(vim_eval a "line('.')")"
same_text 10 a "$abuf" b "$bbuf" ||
    fail "the texts differ"

step "what ends it: a movement, typing, a change"
vim_keys b j
ended 400
vim_keys b ':CoVim follow a' Enter
follows_to 400
vim_keys b i
ended 30
vim_keys b Escape ':CoVim follow a' Enter
follows_to 30
vim_keys b x
ended 40

step "another window is left alone, and what is typed there"
vim_keys b ':CoVim follow a' Enter
follows_to 40
vim_keys b ':split' Enter 200Go
for line in 350 10 222 90; do
    vim_type b "word$line "
    vim_keys a "${line}G"
    vim_wait b 10 "line('.', win_getid(winnr('#'))) == $line" ||
        fail "the other window is not in line $line"
done
vim_keys b Escape
[ "$(vim_eval b 'getline(".")')" = 'word350 word10 word222 word90 ' ] ||
    fail "it was not typed in one line"

step "a leaves"
vim_keys a ':CoVim leave' Enter
vim_wait b 10 "getwinvar(winnr('#'), 'covim_follow', {}) == {}" ||
    fail "b follows somebody who is not there"
for name in a b; do
    no_errors $name
    vim_end $name
done
