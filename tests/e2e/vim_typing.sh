#!/bin/bash
# Somebody types in a terminal while edits of others arrive: pauses in the
# middle of commands, in prompts, menus and block inserts.  In the end the
# buffer is the text that the made-up agent computed on its own.
#   vim_typing.sh vim|nvim      COVIM_ROUNDS (60), COVIM_SEED
# shellcheck source=tests/e2e/vim_tmux.sh
. "$(dirname "$0")/vim_tmux.sh"
rounds=${COVIM_ROUNDS:-60}
seed=${COVIM_SEED:-$((RANDOM + 1))}
export COVIM_FAKE=${COVIM_FAKE:-$COVIM_BUILD/tests/fake_agent}
echo "seed $seed"
start_editor typing.vim "TypingStart('$dir', $seed)"
wait_file started 10 || exit 1

keys() { tmux send-keys -t t -l -- "$1"; }
key() { tmux send-keys -t t "$@"; }
pause() { sleep 0.0$((RANDOM % 8 + 1)); }
esc() { key Escape; sleep 0.02; }
words=(alpha beta 'x y' é日本 word 'a b c')
word() { keys "${words[RANDOM % 6]}"; }
RANDOM=$seed
for ((n = 0; n < rounds; n++)); do
    keys "$((RANDOM % 60 + 1))G$((RANDOM % 9 + 1))|"
    case $((RANDOM % 22)) in
    0 | 1) keys i; word; pause; word; pause; word; esc ;;
    2) keys A; word; key Enter; pause; word; key BSpace BSpace; esc ;;
    3) keys d; pause; pause; keys w ;;
    4) keys V; pause; keys j; pause; keys d ;;
    5) keys v; pause; keys e; pause; keys c; word; esc ;;
    6) keys ":s/a/${words[RANDOM % 6]}/g"; pause; pause; key Enter ;;
    7) keys ":g/beta/s//B/"; pause; key Enter ;;
    8) keys 'o'; keys 'al'; pause; key C-n; pause; key C-n; pause; esc ;;
    9) key C-v; keys jj; pause; keys I; pause; word; pause; esc ;;
    10) keys u; pause ;;
    11) keys cw; pause; word; esc; keys j.; pause ;;
    12) keys dd; pause; keys p ;;
    13) keys R; word; pause; key BSpace; esc ;;
    14) keys qqA; word; esc; keys jq; pause; keys 2@q ;;
    15) keys ":%s/a/b/gc"; key Enter; pause; keys y; pause; keys n; pause
        keys q; esc ;;
    16) keys 3i; word; pause; esc ;;
    17) keys yyP; pause ;;
    18) keys '"'; pause; keys ayy; pause; keys '"ap' ;;
    19) keys 'f'; pause; keys a; keys x ;;
    20) keys '/beta'; pause; key Enter; keys x ;;
    21) keys gg; keys V; pause; keys G; pause; keys '>' ;;
    esac
done
esc
esc
tmux send-keys -t t ':call TypingFinish()' Enter
wait_file result 30 || exit 1
cat "$dir/result"
[ ! -s "$dir/stderr" ] || { cat "$dir/stderr"; [ "$editor" = nvim ] || exit 1; }
grep -q '^equal' "$dir/result"
