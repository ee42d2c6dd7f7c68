#!/usr/bin/env bash
# Two Vims that share a file, side by side in tmux.  See --help.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

usage() {
    cat <<TEXT
Usage: scripts/demo.sh [--check] [--no-install]

Installs the Debian packages that are missing (with sudo where needed, and
says which), builds covim, and opens tmux with two Vims side by side.  The
left one has shared a sample file with :CoVim share, the right one has joined
with the key that came of it.  They find each other through a DHT of this
machine alone: nothing is sent to another one.

Type in either.  F12 ends it; nothing keeps running, nothing is left behind.

  --check        no screen: do all of it, type in one, look in the other, end
  --no-install   the packages are there
TEXT
}

check=false install=true
for argument; do
    case $argument in
    --help | -h)
        usage
        exit 0
        ;;
    --check) check=true ;;
    --no-install) install=false ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
done

if $install; then
    install_packages "${build_packages[@]}" "${demo_packages[@]}"
fi
mkdir -p "$top/build"
build release covim

work=$(mktemp -d "${TMPDIR:-/tmp}/covim-demo.XXXXXX")
socket=$work/tmux
dht=

tm() {
    tmux -S "$socket" -f /dev/null "$@"
}

finish() {
    # The Vims end their agents, which say goodbye; then the server.
    if [ -S "$socket" ]; then
        for pane in 0.0 0.1; do
            tm send-keys -t "demo:$pane" Escape ':qall!' Enter 2>/dev/null || :
        done
        for _ in $(seq 50); do
            tm has-session -t demo 2>/dev/null || break
            sleep 0.1
        done
        tm kill-server 2>/dev/null || :
    fi
    if [ -n "$dht" ]; then
        kill "$dht" 2>/dev/null || :
        wait "$dht" 2>/dev/null || :
    fi
    rm -rf "$work"
}
trap finish EXIT

# wait_for SECONDS COMMAND…: until it succeeds.
wait_for() {
    local tries=$(($1 * 10))
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.1
    done
}

# One DHT node of our own, on loopback, which both agents start from: a
# headless share of a scrap file is one.
printf 'scrap\n' >"$work/scrap"
mkdir -m 700 "$work/scrap-data"
port=$((20000 + $$ % 20000))
COVIM_BOOTSTRAP=none "$top/build/release/cli/covim" share --no-lan \
    --data-dir "$work/scrap-data" --dht-port "$port" "$work/scrap" \
    >"$work/scrap.key" 2>"$work/scrap.log" </dev/null &
dht=$!
wait_for 10 test -s "$work/scrap.key" || {
    cat "$work/scrap.log" >&2
    die "the DHT node did not start"
}

cat >"$work/sample.c" <<'TEXT'
/* Two Vims share this file.  Type in either of them. */
#include <stdio.h>

int main(void)
{
    puts("hello from two editors");
    return 0;
}
TEXT

cat >"$work/vimrc" <<TEXT
set nocompatible nomodeline ruler laststatus=2 noswapfile
syntax on
filetype plugin on
set runtimepath^=$top/vimplugin
runtime plugin/covim.vim
let g:covim_command = ['$top/build/release/cli/covim', 'agent']
let g:covim_bootstrap = ['127.0.0.1:$port']
let g:covim_lan = 0
let g:covim_name = \$COVIM_NAME
set statusline=%t\ %m%=%{covim#statusline()}\ \ F12\ ends\ the\ demo
map <F12> <Cmd>call system('tmux -S $socket detach-client')<CR>
map! <F12> <Cmd>call system('tmux -S $socket detach-client')<CR>
TEXT

# vim_in NAME: the command line of one of the two.
vim_in() {
    printf 'env HOME=%q XDG_DATA_HOME=%q COVIM_NAME=%s vim -u %q' \
        "$work/$1" "$work/$1/data" "$1" "$work/vimrc"
}
mkdir -p "$work/ada" "$work/bob"

say "opening two Vims"
tm new-session -d -s demo -x 132 -y 24 "$(vim_in ada) $work/sample.c"
tm set-option -g status off
tm set-option -g default-terminal screen-256color
tm split-window -h -t demo "$(vim_in bob)"
tm select-pane -t demo:0.0
sleep 0.5
tm send-keys -t demo:0.0 ':CoVim share --open' Enter

shown() {
    tm capture-pane -p -J -t "demo:$1" | tr -d '\n' | grep -q "$2"
}
wait_for 20 shown 0.0 'covim1' || {
    tm capture-pane -p -t demo:0.0 >&2
    die "the first Vim shows no key"
}
key=$(tm capture-pane -p -J -t demo:0.0 | tr -d '\n' |
    grep -o 'covim1[a-z0-9]*' | head -n 1)
tm send-keys -t demo:0.1 ":CoVim join $key" Enter
wait_for 30 shown 0.1 'hello from two editors' || {
    tm capture-pane -p -t demo:0.1 >&2
    die "the second Vim did not get the text"
}

if $check; then
    tm send-keys -t demo:0.0 'Goleft was here' Escape
    wait_for 10 shown 0.1 'left was here' || die "the right Vim missed it"
    tm send-keys -t demo:0.1 'Goright was here' Escape
    wait_for 10 shown 0.0 'right was here' || die "the left Vim missed it"
    say "both Vims have both lines"
else
    say "F12 ends it"
    env -u TMUX tmux -S "$socket" attach -t demo || :
fi
