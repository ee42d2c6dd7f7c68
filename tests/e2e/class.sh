#!/usr/bin/env bash
# A class of two dozen from two rooms comes into one open session at once, and
# all write at the same time, into files that are replaced under their hands:
# everybody gets in, and has every line of all.
set -euo pipefail
# shellcheck source=tests/netlab/lab.sh
. "$(dirname "$0")/../netlab/lab.sh"
# shellcheck source=tests/e2e/vims.sh
. "$(dirname "$0")/vims.sh"

class=24 rounds=12

vims_need
vims_lab
options=(--bootstrap 20.0.0.1:4222 --stun 20.0.0.1:3478 --log info
    --no-port-mapping)

# member NAME SPACE COMMAND…: covim in the background, with an identity.
member() {
    local name=$1 space=$2
    shift 2
    mkdir -m 700 "$work/$name"
    lab_spawn "$space" "$work/$name.log" "$covim" "$1" "${options[@]}" \
        --data-dir "$work/$name" --name "$name" "${@:2}"
}
# every TEST…: it holds of everybody's text.
every() {
    local i
    for ((i = 1; i <= class; i++)); do
        "$@" "$work/guest$i.text" || return 1
    done
}
all_lines() {
    [ "$(grep -c '^line [0-9]* by' "$work/host.text")" = $((class * rounds)) ]
}

echo "the task" >"$work/host.text"
member host a share --open "$work/host.text"
lab_wait 20 grep -q covim1 "$work/host.log" || fail "no key"
key=$(grep -o 'covim1[a-z0-9]*' "$work/host.log" | head -n 1)
rooms=(b c)
for ((i = 1; i <= class; i++)); do
    member "guest$i" "${rooms[i % 2]}" join "$key" "$work/guest$i.text"
done
lab_wait 60 every cmp -s "$work/host.text" || fail "somebody has no text"
for ((round = 1; round <= rounds; round++)); do
    for ((i = 1; i <= class; i++)); do
        echo "line $round by $i" >>"$work/guest$i.text"
    done
    sleep 0.3
done
lab_wait 60 all_lines ||
    fail "of $((class * rounds)) lines the host has $(grep -c '^line' "$work/host.text")"
lab_wait 60 every cmp -s "$work/host.text" || fail "the texts differ"
# Each is said to be here once, whatever the path to him does, until he is gone.
awk '/ is (here|gone)$/ {
         who = $3 $4; now = $NF
         if (now == last[who]) { print; twice = 1 }
         last[who] = now; people += now == "here"
     }
     END { exit twice || people < '$class' }' "$work/host.log" ||
    fail "somebody came twice"
