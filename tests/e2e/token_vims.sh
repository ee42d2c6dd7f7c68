#!/usr/bin/env bash
# Two real Vims behind two NATs, and no DHT at all: two tokens carried by hand,
# and a public host that runs `covim stun`, are enough.  The gateways let stray
# packets in, which is what plain punching fails at, and the guest's token takes
# longer than they remember a mapping.
#
#   p (covim stun) ── internet ──┬── ra (portrestricted) ── a
#                                └── rb (portrestricted) ── b
set -euo pipefail
# shellcheck source=tests/netlab/lab.sh
. "$(dirname "$0")/../netlab/lab.sh"
# shellcheck source=tests/e2e/vims.sh
. "$(dirname "$0")/vims.sh"

for tool in vim tmux; do
    command -v "$tool" >/dev/null || lab_skip "$tool is not installed"
done
lab_begin delay=25
trap vims_end EXIT
lab_net 'public p
         router ra portrestricted strays=accept udp_timeout=25
         router rb portrestricted strays=accept udp_timeout=25
         host a ra
         host b rb'
lab_spawn p "$work/stun.log" "$covim" stun --listen "${lab_ip[p]}:3478"
vim_settings="let g:covim_bootstrap = ['none']
let g:covim_stun = ['${lab_ip[p]}:3478']
let g:covim_port_mapping = 0"

# token NAME KIND: what a Vim shows, once it does.
token() {
    vim_wait "$1" 10 "getbufline('^covim-token\$', 1, '\$')->join('') =~# 'covim$2'" ||
        fail "$1 shows no token"
    vim_eval "$1" "getbufline('^covim-token\$', 1, '\$')->join('')->matchstr('covim${2}1.*')"
}

printf 'one\ntwo\n' >"$work/text.txt"
printf 'mine\n' >"$work/mine.txt"
vim_start a a "$work/text.txt"
vim_start b b "$work/mine.txt"

step "an address alone is refused"
vim_keys b ":CoVim connect ${lab_ip[ra]} 5000" Enter
vim_wait b 5 "execute('messages') =~# 'an address alone'" || fail "not refused"

step "a starts, b connects with its token"
vim_keys a ':CoVim start' Enter
host=$(token a host)
vim_keys b Escape ':CoVim connect '
vim_type b "$host"
vim_keys b Enter
guest=$(token b guest)
vim_wait b 10 "covim#sessions()[0].stage =~# 'add your token'" ||
    fail "b does not say what it waits for"

step "the token takes 35 s to a"
sleep ${TOKEN_WAIT:-35}
vim_eval a "setreg('\"', '$guest')" >/dev/null
vim_keys a Escape ':CoVim add' Enter
vim_wait a 10 "covim#statusline() =~# 'knocks'" || fail "nobody knocks at a"
vim_keys a ':CoVim accept' Enter
vim_wait b 10 "bufname() =~# '^covim://' && getline(2) ==# 'two'" ||
    fail "b did not get the text"

step "both write"
vim_keys a Escape 'ggOfrom a' Escape
vim_keys b Escape 'Gofrom b' Escape
same_text 10 a "$(vim_eval a 'bufnr("text.txt")')" b "$(vim_eval b 'bufnr()')" ||
    fail "the texts differ"
grep -q 'from a' "$work/a.text" || fail "a's line is lost"
grep -q 'from b' "$work/a.text" || fail "b's line is lost"
vim_wait a 5 "values(covim#sessions()[0].peers)[0].path ==# 'direct'" ||
    fail "the path is not direct"

step "neither token serves twice"
vim_keys a Escape ":CoVim add $guest" Enter
vim_wait a 5 "join(covim#ui#lines()) .. execute('messages') =~# 'answered already'" ||
    fail "the guest's token was taken twice"
vim_end a
vim_end b
step "done"
