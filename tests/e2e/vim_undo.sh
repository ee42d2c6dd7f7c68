#!/bin/bash
# Runs vimplugin/test/test_undo.vim in a terminal.   vim_undo.sh vim|nvim
set -u
editor=$1
here=$(cd "$(dirname "$0")" && pwd)
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
cat >"$dir/start.vim" <<END
source $here/../../vimplugin/test/setup.vim
source $here/../../vimplugin/test/test_undo.vim
call UndoStart('$dir')
END
args=(--clean -N)
[ "$editor" = nvim ] && args=(--clean)
HOME=$dir XDG_DATA_HOME=$dir XDG_CONFIG_HOME=$dir XDG_STATE_HOME=$dir \
    tmux new-session -d -s t -x 100 -y 30 \
    -e COVIM_FAKE=none -e COVIM_AGENT="$COVIM_BUILD/cli/covim" \
    "$editor ${args[*]} -S $dir/start.vim"
tmux set -s escape-time 0
for ((i = 0; i < 900; i++)); do
    [ -e "$dir/result" ] && break
    sleep 0.1
done
if [ ! -e "$dir/result" ]; then
    tmux capture-pane -p -t t
    exit 1
fi
cat "$dir/result"
[ -s "$dir/result" ] && ! grep -q '^FAIL' "$dir/result"
