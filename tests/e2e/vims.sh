# tests/e2e/vims.sh - real Vims in tmux, driven and looked at.
#
# Sourced after tests/netlab/lab.sh.  A Vim lives in a namespace of the lab and
# in a tmux server of its own:
#
#   vim_start a SPACE FILE…     start it; with vim_program=nvim a Neovim, with
#                               vim_settings=LINES more of a vimrc
#   vim_keys a KEYS…            tmux send-keys: Escape, Enter, C-x, text
#   vim_type a TEXT             the same, literally
#   vim_eval a EXPR             what an expression is, on stdout
#   vim_text a FILE             write the buffer's lines there
#   vim_wait a SECONDS EXPR     until it is true
#   vim_log_has a PATTERN       is it in the log of its agent?
#   no_errors a                 it has reported no error of a script
#   vim_end a                   :qall!, and wait for it
#
#   step TEXT…                  say what comes now
#   fail TEXT…                  say what is wrong and what every Vim shows, call
#                               fail_also if the test has one, and end

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
covim=$COVIM_BUILD/cli/covim
gate=$COVIM_BUILD/gate/covim-gate
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT # until there is more to end
declare -A vim_space
vim_serial=0

step() {
    echo "$(date +%T) $*"
}

fail() {
    local name
    echo "FAIL: $*"
    for name in "${!vim_space[@]}"; do
        echo "--- $name"
        vim_screen "$name" || :
        vim_eval "$name" 'join(getline(1, 100), "\n")' || :
        vim_eval "$name" 'join(covim#ui#lines(), "\n")' || :
        vim_eval "$name" 'join(covim#rpc#stderr()[-60:], "\n")' || :
    done
    ! declare -F fail_also >/dev/null || fail_also
    exit 1
}

vims_need() {
    local tool
    for tool in vim tmux dhtnode; do
        command -v "$tool" >/dev/null || lab_skip "$tool is not installed"
    done
}

vims_end() {
    local name
    for name in "${!vim_space[@]}"; do
        tmux -S "$work/$name.tmux" kill-server 2>/dev/null || :
    done
    lab_end
    rm -rf "$work"
}

vim_start() {
    local name=$1 space=$2
    shift 2
    vim_space[$name]=$space
    mkdir -p "$work/$name"
    cat >"$work/$name/vimrc" <<VIMRC
set nocompatible nomodeline noswapfile noshowmode shortmess+=I
set runtimepath^=$top/vimplugin
runtime plugin/covim.vim
let g:covim_command = ['$covim', 'agent', '--log', 'debug']
let g:covim_bootstrap = ['20.0.0.1:4222']
let g:covim_stun = ['20.0.0.1:3478']
let g:covim_lan = 0
let g:covim_name = '$name'
let g:covim_log_file = '$work/$name/agent.log'
${vim_settings-}
set laststatus=2 statusline=%{covim#statusline()}
" The test asks by leaving an expression in a file; a timer answers, so that
" nothing is typed.
function! s:answer(timer)
    if filereadable('$work/$name/ask')
        let l:serial = readfile('$work/$name/ask', '', 1)[0]
        let l:expr = join(readfile('$work/$name/ask')[1:], "\n")
        call delete('$work/$name/ask')
        try
            let l:value = eval(l:expr)
        catch
            let l:value = 'error: ' .. v:exception
        endtry
        call writefile([type(l:value) == v:t_string ? l:value : json_encode(l:value)], '$work/$name/answer.new')
        call rename('$work/$name/answer.new', '$work/$name/answer.' .. l:serial)
    endif
endfunction
call timer_start(20, function('s:answer'), {'repeat': -1})
VIMRC
    lab_in "$space" env -u TMUX HOME="$work/$name" \
        XDG_DATA_HOME="$work/$name/data" TERM=xterm-256color \
        tmux -S "$work/$name.tmux" -f /dev/null new-session -d -s vim \
        -x 120 -y 40 "${vim_program:-vim} -u $work/$name/vimrc $*"
    vim_wait "$name" 10 1 || {
        echo "Vim $name did not start"
        vim_screen "$name"
        return 1
    }
}

vim_keys() {
    local name=$1
    shift
    tmux -S "$work/$name.tmux" send-keys -t vim "$@"
}

vim_type() {
    tmux -S "$work/$1.tmux" send-keys -t vim -l -- "$2"
}

vim_screen() {
    tmux -S "$work/$1.tmux" capture-pane -p -J -t vim
}

vim_eval() {
    local name=$1 tries=200 answer
    vim_serial=$((vim_serial + 1))
    answer=$work/$name/answer.$BASHPID.$vim_serial
    printf '%s\n%s\n' "$BASHPID.$vim_serial" "$2" >"$work/$name/ask.new"
    mv "$work/$name/ask.new" "$work/$name/ask"
    until [ -f "$answer" ]; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.02
    done
    cat "$answer"
    rm -f "$answer"
}

vim_wait() {
    local name=$1 seconds=$2 value
    local end=$((SECONDS + seconds))
    while :; do
        value=$(vim_eval "$name" "$3" || :)
        case $value in
        '' | 0 | false | error:*) ;;
        *) return 0 ;;
        esac
        [ $SECONDS -lt $end ] || break
        sleep 0.05
    done
    echo "Vim $name: \"$3\" is \"$value\" after $seconds s"
    vim_screen "$name"
    return 1
}

vim_text() {
    vim_eval "$1" "writefile(getbufline($3, 1, '\$'), '$2')" >/dev/null
}

vim_log_has() {
    { vim_eval "$1" 'join(covim#rpc#stderr(), "\n")' || :; } | grep -a -q "$2"
}

no_errors() {
    ! vim_eval "$1" "execute('messages')" | grep 'E[0-9]\+:\|Error detected' ||
        fail "Vim $1 reports an error"
}

vim_end() {
    local name=$1
    vim_keys "$name" Escape Escape ':qall!' Enter
    lab_wait 10 vim_gone "$name" || {
        echo "Vim $name does not end"
        vim_screen "$name"
        return 1
    }
    unset "vim_space[$name]"
}

vim_gone() {
    ! tmux -S "$work/$1.tmux" has-session -t vim
}

# The key on the screen of a Vim that shares.
vim_key() {
    vim_screen "$1" | tr -d '\n' | grep -o 'covim1[a-z0-9]\{59\}' | head -n 1
}

# vims_meet A B: A shares what it shows, B joins and is let in; $key.
vims_meet() {
    vim_keys "$1" ':CoVim share' Enter
    lab_wait 10 vim_key "$1" || fail "$1 shows no key"
    key=$(vim_key "$1")
    vim_keys "$2" ":CoVim join $key" Enter
    vim_wait "$1" 30 "covim#statusline() =~# 'knocks'" ||
        fail "nobody knocks at $1"
    vim_keys "$1" ':CoVim accept' Enter
    vim_wait "$2" 30 "bufname() =~# '^covim://'" || fail "$2 got no text"
}

# vims_pair EDITOR FILE [OPTION…]: in a lab, a shares the file in the other
# editor, and b has joined in EDITOR, vim or nvim.  $abuf, $bbuf: their buffers.
vims_pair() {
    local other=nvim
    [ "$1" = nvim ] && other=vim
    command -v nvim >/dev/null || lab_skip "nvim is not installed"
    vims_lab
    vim_program=$other vim_start a a "$2"
    vim_program=$1 vim_start b b
    vim_keys a ":CoVim share --open ${*:3}" Enter
    lab_wait 10 vim_key a || fail "a shows no key"
    vim_keys b ":CoVim join $(vim_key a)" Enter
    vim_wait b 40 "bufname() =~# '^covim://'" || fail "b did not get the text"
    # shellcheck disable=SC2034 # for the test
    abuf=$(vim_eval a 'bufnr()') bbuf=$(vim_eval b 'bufnr()')
}

# same_text SECONDS NAME BUF NAME BUF…: until all buffers are equal and nothing
# is unsynced; leaves them in $work/NAME.text.
same_text() {
    local end=$((SECONDS + $1)) i first equal
    shift
    local pairs=("$@")
    while :; do
        equal=true first=
        for ((i = 0; i < ${#pairs[@]}; i += 2)); do
            vim_text "${pairs[i]}" "$work/${pairs[i]}.text" "${pairs[i + 1]}"
            if [ -z "$first" ]; then
                first=${pairs[i]}
            elif ! cmp -s "$work/$first.text" "$work/${pairs[i]}.text"; then
                equal=false
            fi
        done
        if $equal; then
            # Once more a moment later: it must stay so.
            [ "${settled:-}" = "$(cksum <"$work/$first.text")" ] && break
            settled=$(cksum <"$work/$first.text")
            sleep 0.5
            continue
        fi
        settled=
        [ $SECONDS -lt $end ] || {
            for ((i = 2; i < ${#pairs[@]}; i += 2)); do
                diff "$work/$first.text" "$work/${pairs[i]}.text" | head -n 20
            done
            return 1
        }
        sleep 0.2
    done
}

# The public host: a DHT node and a STUN server.  Two LANs behind NATs.
#
#   pub 20.0.0.1 ── wan ──┬── ra (portrestricted) ── a 192.168.1.2
#                         └── rb (portrestricted) ── b 192.168.2.2
#                                                 └─ c 192.168.2.3
vims_lab() {
    lab_begin
    trap vims_end EXIT
    lab_public pub 20.0.0.1
    lab_router ra 20.0.0.11 192.168.1 portrestricted
    lab_router rb 20.0.0.12 192.168.2 portrestricted
    lab_host a ra 192.168.1.2
    lab_host b rb 192.168.2.2
    lab_host c rb 192.168.2.3
    lab_spawn pub "$work/dht.log" dhtnode -s -p 4222
    lab_spawn pub "$work/stun.log" "$covim" stun --listen 20.0.0.1:3478
}

# A gate at g with gate_options; sets gate_pid.
start_gate() {
    lab_spawn g "$work/gate.log" "$gate" "${gate_options[@]}"
    gate_pid=$lab_pid
}

# A gate at g with a key of its own; sets gate_options, gate_pid and gate_name.
new_gate() {
    mkdir -m 700 "$work/gate"
    gate_options=(--listen "${lab_ip[g]}:443" --key "$work/gate/key"
        --metrics off)
    start_gate
    gate_name=$(lab_in g "$gate" "${gate_options[@]}" --name "${lab_ip[g]}" \
        --print-name)
}

# gate_lab KIND: two sides of this kind, and Vims that know the gate.
#
#   p (DHT, STUN)  g (covim-gate) ── internet ──┬── a-nat ── a
#                                               └── b-nat ── b
gate_lab() {
    lab_begin delay=25
    trap vims_end EXIT
    lab_net "public g; public p addresses=2; side a $1; side b $1"
    new_gate
    lab_spawn p "$work/dht.log" dhtnode -s -p 4222
    lab_spawn p "$work/stun.log" "$covim" stun --listen "${lab_ip[p]}:3478" \
        --listen 20.0.2.2:3478
    vim_settings="let g:covim_bootstrap = ['${lab_ip[p]}:4222']
let g:covim_stun = ['${lab_ip[p]}:3478']
let g:covim_gate = ['$gate_name']
let g:covim_birthday = 'off'
let g:covim_port_mapping = 0"
}

# A C source file of more than 5,000 lines: our own, as often as it takes.
make_source() {
    while [ "$(wc -l 2>/dev/null <"$1" || echo 0)" -lt 5000 ]; do
        cat "$top"/base/*.[ch] "$top"/transport/*.[ch] >>"$1"
    done
}
