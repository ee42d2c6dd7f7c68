#!/bin/sh
# What is typed right before :qall reaches the agent, which then sees its
# stdin close; nothing of a joined text is left in viminfo, swap or undo files.
#   vim_quit.sh vim|nvim
editor=$1
command -v "$editor" >/dev/null || { echo "needs $editor"; exit 77; }
here=$(cd "$(dirname "$0")" && pwd)
COVIM_FAKE=${COVIM_FAKE:-$COVIM_BUILD/tests/fake_agent}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
FAKE_DUMP=$dir/dump
HOME=$dir XDG_CONFIG_HOME=$dir XDG_DATA_HOME=$dir XDG_STATE_HOME=$dir
export COVIM_FAKE FAKE_DUMP HOME XDG_CONFIG_HOME XDG_DATA_HOME XDG_STATE_HOME
mkdir "$dir/swap" "$dir/undo"
cat >"$dir/quit.vim" <<END
source $here/../../vimplugin/test/setup.vim
set swapfile undofile directory=$dir/swap undodir=$dir/undo
if has('nvim')
    set shada='100,n$dir/info
else
    set viminfo='100,n$dir/info
endif
call Ask('test/doc', {'path': 'secret.txt', 'lines': ['one', 'two']})
CoVim join covim1abcdefghijk
call WaitFor('bufname("%") =~# "^covim://"')
mark A
call setline(2, repeat('long', 200000))
call setline(1, 'typed last')
qall!
END
if [ "$editor" = nvim ]; then
    timeout 30 nvim --clean --headless -S "$dir/quit.vim" </dev/null >"$dir/out" 2>&1
else
    timeout 30 vim --clean -N -es -S "$dir/quit.vim" </dev/null >"$dir/out" 2>&1
fi
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    [ -s "$dir/dump" ] && break
    sleep 0.1
done
fail() {
    echo "$1"
    head -c 500 "$dir/out"
    exit 1
}
[ -s "$dir/dump" ] || fail "the agent did not see its stdin close"
[ "$(head -n 1 "$dir/dump")" = "typed last" ] || fail "a change is missing"
[ "$(wc -c <"$dir/dump")" -eq 800011 ] || fail "a change is cut short"
[ -z "$(ls -A "$dir/swap" "$dir/undo" | grep -v :$)" ] || fail "files are left"
if [ -e "$dir/info" ] && grep -aq secret "$dir/info"; then
    fail "the joined text is remembered"
fi
echo ok
