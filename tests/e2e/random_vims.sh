#!/usr/bin/env bash
# Two Vims behind two NATs, random keys in both at once, the same text at the
# end.  The seed is printed; COVIM_SEED=… repeats it, COVIM_ROUNDS=… is how long.
set -euo pipefail
# shellcheck source=tests/netlab/lab.sh
. "$(dirname "$0")/../netlab/lab.sh"
# shellcheck source=tests/e2e/vims.sh
. "$(dirname "$0")/vims.sh"

seed=${COVIM_SEED:-$(od -An -N2 -tu2 /dev/urandom | tr -d ' ')}
rounds=${COVIM_ROUNDS:-150}
echo "COVIM_SEED=$seed COVIM_ROUNDS=$rounds"
RANDOM=$seed

vims_need
vims_lab
head -n 300 "$top/base/addr.c" >"$work/text.c"
echo 'é 日本 😀 last line' >>"$work/text.c"

vim_start a a "$work/text.c"
vim_start b b
vim_keys a ':CoVim share --open' Enter
lab_wait 10 vim_key a
vim_keys b ":CoVim join $(vim_key a)" Enter
vim_wait b 30 "bufname() =~# '^covim://'"
abuf=$(vim_eval a 'bufnr()') bbuf=$(vim_eval b 'bufnr()')

words=(foo 'é' '日本' '😀' 'x = (y)' 'aa' ' ' '// note')

# One random command in Vim $1.
act() {
    local line=$((RANDOM % 300 + 1)) word=${words[RANDOM % ${#words[@]}]}
    vim_keys "$1" Escape "${line}G"
    case $((RANDOM % 20)) in
    0 | 1 | 2 | 3)
        vim_keys "$1" i
        vim_type "$1" "$word$word "
        vim_keys "$1" Escape
        ;;
    4 | 5)
        vim_keys "$1" A
        vim_type "$1" "$word"
        vim_keys "$1" Enter
        vim_type "$1" "$word"
        vim_keys "$1" Escape
        ;;
    6) vim_keys "$1" dd ;;
    7) vim_keys "$1" yyp ;;
    8) vim_keys "$1" 3x ;;
    9) vim_keys "$1" J ;;
    10) vim_keys "$1" u ;;
    11) vim_keys "$1" C-r ;;
    12) vim_keys "$1" ':s/[aeiou]/<&>/ge' Enter ;;
    13) vim_keys "$1" '>>' ;;
    14) vim_keys "$1" V 2j d ;;
    15) vim_keys "$1" P ;;
    16) vim_keys "$1" C-v jj I "$word" Escape ;;
    17) vim_keys "$1" ':move 0' Enter ;;
    18) vim_keys "$1" R 'over' Escape ;;
    19) vim_keys "$1" d w ;;
    esac
}

for ((i = 0; i < rounds; i++)); do
    act a
    act b
    if [ $((RANDOM % 8)) = 0 ]; then
        sleep 0.$((RANDOM % 3))
    fi
done
vim_keys a Escape
vim_keys b Escape
same_text 60 a "$abuf" b "$bbuf" || {
    echo "FAIL: the texts differ; COVIM_SEED=$seed COVIM_ROUNDS=$rounds"
    exit 1
}
wc -l "$work/a.text"
vim_end a
vim_end b
