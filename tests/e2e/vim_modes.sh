#!/bin/bash
# Runs vimplugin/test/modes.vim in a terminal.   vim_modes.sh vim|nvim
# shellcheck source=tests/e2e/vim_tmux.sh
. "$(dirname "$0")/vim_tmux.sh"
export COVIM_FAKE=${COVIM_FAKE:-$COVIM_BUILD/tests/fake_agent}
start_editor modes.vim "ModesStart('$dir')" -e COVIM_ONLY="${COVIM_ONLY:-}"
wait_file result 60 || exit 1
cat "$dir/result"
! grep -q '^FAIL' "$dir/result"
