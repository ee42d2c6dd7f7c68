#!/usr/bin/env bash
# Two real Vims behind two NATs that nothing joins, no DHT, and one gate, which
# only the host has in its settings: its token names it.  The guest rings there
# with the knock that its own token is, again and again until it is heard.
#
#   p (covim stun)  g (covim-gate) ── internet ──┬── a-nat ── a
#                                                └── b-nat ── b
set -euo pipefail
# shellcheck source=tests/netlab/lab.sh
. "$(dirname "$0")/../netlab/lab.sh"
# shellcheck source=tests/e2e/vims.sh
. "$(dirname "$0")/vims.sh"

# token NAME KIND: what a Vim shows, once it does.
token() {
    vim_wait "$1" 10 "getbufline('^covim-token\$', 1, '\$')->join('') =~# 'covim$2'" ||
        fail "$1 shows no token"
    vim_eval "$1" "getbufline('^covim-token\$', 1, '\$')->join('')->matchstr('covim${2}1.*')"
}

begin() { # KIND of both NATs
    work=$(mktemp -d)
    lab_begin delay=25
    trap vims_end EXIT
    lab_net "public p addresses=2; public g; side a $1; side b $1"
    new_gate
    lab_spawn p "$work/stun.log" "$covim" stun --listen "${lab_ip[p]}:3478" \
        --listen 20.0.1.2:3478
    local settings="let g:covim_bootstrap = ['none']
let g:covim_stun = ['${lab_ip[p]}:3478']
let g:covim_port_mapping = 0"
    printf 'one\ntwo\n' >"$work/text.txt"
    vim_settings="$settings
let g:covim_gate = ['$gate_name']"
    vim_start a a "$work/text.txt"
    vim_settings=$settings
    vim_start b b
    vim_keys a ':CoVim start' Enter
    host=$(token a host)
}

connect() { # b, with the host's token
    vim_keys b Escape ':CoVim connect '
    vim_type b "$host"
    vim_keys b Enter
    guest=$(token b guest)
}

add() { # at a, the guest's token
    vim_eval a "setreg('\"', '$guest')" >/dev/null
    vim_keys a Escape ':CoVim add' Enter
}

let_in() {
    vim_keys a Escape ':CoVim accept' Enter
    vim_wait b 10 "bufname() =~# '^covim://' && getline(2) ==# 'two'" ||
        fail "b did not get the text"
    vim_keys a Escape 'ggOfrom a' Escape
    vim_keys b Escape 'Gofrom b' Escape
    same_text 10 a "$(vim_eval a 'bufnr("text.txt")')" \
        b "$(vim_eval b 'bufnr()')" || fail "the texts differ"
    grep -q 'from a' "$work/a.text" || fail "a's line is lost"
    grep -q 'from b' "$work/a.text" || fail "b's line is lost"
}

path_is() { # PATH SECONDS
    vim_wait a "$2" "values(covim#sessions()[0].peers)[0].path ==# '$1'" ||
        fail "the path is not $1"
}

end() {
    vim_end a
    vim_end b
    vims_end
    trap - EXIT
}

nobody_fails_who_carries_both_tokens() {
    step "two NATs that nothing joins"
    begin symmetric
    connect
    vim_wait a 10 "covim#statusline() =~# 'knocks'" || fail "nobody knocks at a"
    step "the guest's token comes when it has knocked already: no harm"
    add
    vim_wait a 5 "execute('messages') .. join(covim#ui#lines()) =~# 'token'" || :
    ! vim_eval a 'execute("messages") .. join(covim#ui#lines())' |
        grep 'answered already' || fail "the guest's token was refused"
    let_in
    path_is gate 5
    step "neither token serves twice"
    vim_keys a Escape ":CoVim add $guest" Enter
    vim_wait a 5 "join(covim#ui#lines()) .. execute('messages') =~# 'answered already'" ||
        fail "the guest's token was taken twice"
    end
}

a_gate_that_is_away_meanwhile_is_waited_for() {
    step "two NATs that nothing joins, and the gate is away"
    begin symmetric
    kill -9 "$gate_pid"
    connect
    add
    sleep 3
    ! vim_eval a "covim#statusline()" | grep knocks || fail "a was reached"
    start_gate
    vim_wait a 30 "covim#statusline() =~# 'knocks'" || fail "nobody knocks at a"
    let_in
    path_is gate 5
    end
}

a_better_path_is_found() {
    step "two NATs that holes can be punched through"
    begin portrestricted
    connect
    vim_wait a 10 "covim#statusline() =~# 'knocks'" || fail "nobody knocks at a"
    let_in
    path_is direct 15
    end
}

for tool in vim tmux; do
    command -v "$tool" >/dev/null || lab_skip "$tool is not installed"
done
nobody_fails_who_carries_both_tokens
a_gate_that_is_away_meanwhile_is_waited_for
a_better_path_is_found
step "done"
