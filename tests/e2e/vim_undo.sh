#!/bin/bash
# Runs vimplugin/test/test_undo.vim in a terminal.   vim_undo.sh vim|nvim
# shellcheck source=tests/e2e/vim_tmux.sh
. "$(dirname "$0")/vim_tmux.sh"
export HOME=$dir XDG_DATA_HOME=$dir XDG_CONFIG_HOME=$dir XDG_STATE_HOME=$dir
start_editor test_undo.vim "UndoStart('$dir')" -e COVIM_FAKE=none \
    -e COVIM_AGENT="$COVIM_BUILD/cli/covim"
wait_file result 90 || exit 1
cat "$dir/result"
[ -s "$dir/result" ] && ! grep -q '^FAIL' "$dir/result"
