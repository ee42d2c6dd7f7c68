#!/bin/sh
# Runs one test script of the plugin without a terminal.
#   vim_script.sh vim|nvim NAME      vimplugin/test/NAME.vim
editor=$1
name=$2
command -v "$editor" >/dev/null || { echo "needs $editor"; exit 77; }
here=$(cd "$(dirname "$0")" && pwd)
script=$here/../../vimplugin/test/$name.vim
COVIM_FAKE=${COVIM_FAKE:-$COVIM_BUILD/tests/fake_agent}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
HOME=$dir XDG_CONFIG_HOME=$dir XDG_DATA_HOME=$dir XDG_STATE_HOME=$dir
COVIM_REPORT=$dir/report
export HOME XDG_CONFIG_HOME XDG_DATA_HOME XDG_STATE_HOME COVIM_REPORT COVIM_FAKE
if [ "$editor" = nvim ]; then
    timeout 100 nvim --clean --headless -S "$script" </dev/null >"$dir/out" 2>&1
else
    timeout 100 vim --clean -N -es -S "$script" </dev/null >"$dir/out" 2>&1
fi
code=$?
if [ $code -ne 0 ]; then
    tail -c 2000 "$dir/out"
fi
cat "$dir/report" || exit 1
exit $code
