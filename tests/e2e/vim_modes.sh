#!/bin/bash
# Runs vimplugin/test/modes.vim in a terminal.   vim_modes.sh vim|nvim
set -u
editor=$1
here=$(cd "$(dirname "$0")" && pwd)
export COVIM_FAKE=${COVIM_FAKE:-$COVIM_BUILD/tests/fake_agent}
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
source $here/../../vimplugin/test/modes.vim
call ModesStart('$dir')
END
args=(--clean -N)
[ "$editor" = nvim ] && args=(--clean)
tmux new-session -d -s t -x 100 -y 30 \
    -e COVIM_ONLY="${COVIM_ONLY:-}" "$editor ${args[*]} -S $dir/start.vim"
tmux set -s escape-time 0
for ((i = 0; i < ${COVIM_WAIT:-600}; i++)); do
    [ -e "$dir/result" ] && break
    sleep 0.1
done
if [ ! -e "$dir/result" ]; then
    tmux capture-pane -p -t t
    exit 1
fi
cat "$dir/result"
! grep -q '^FAIL' "$dir/result"
