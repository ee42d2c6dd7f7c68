# tests/e2e/vim_tmux.sh - one Vim or Neovim in a terminal, with a script of
# vimplugin/test; sourced by vim_*.sh, which name the editor in $1.
#
#   start_editor SCRIPT CALL OPTION…   run it with vimplugin/test/SCRIPT, and
#                                      options of tmux new-session
#   wait_file NAME SECONDS             until the script has written $dir/NAME
set -u
editor=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for tool in tmux "$editor"; do
    command -v "$tool" >/dev/null || { echo "needs $tool"; exit 77; }
done
dir=$(mktemp -d)
tmux() { command tmux -L "covim-$$" -f /dev/null "$@"; }
clean() {
    tmux kill-server 2>/dev/null
    rm -rf "$dir"
}
trap clean EXIT

start_editor() {
    local script=$1 call=$2 args=(--clean -N)
    shift 2
    [ "$editor" = nvim ] && args=(--clean)
    cat >"$dir/start.vim" <<END
source $here/../../vimplugin/test/setup.vim
source $here/../../vimplugin/test/$script
call $call
END
    tmux new-session -d -s t -x 100 -y 30 "$@" \
        "$editor ${args[*]} -S $dir/start.vim 2>$dir/stderr"
    tmux set -s escape-time 0
}

wait_file() {
    local i
    for ((i = 0; i < $2 * 20; i++)); do
        [ -e "$dir/$1" ] && return 0
        sleep 0.05
    done
    echo "no $1:"
    tmux capture-pane -p -t t
    cat "$dir/stderr"
    return 1
}
