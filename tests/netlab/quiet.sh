#!/usr/bin/env bash
# A connection that nothing is said on for 13 s, behind a carrier that forgets
# after 6: the keep-alives follow what was measured, and nobody notices.  With
# the life that is assumed where nothing is known, the next word gets lost.
#
#   a (dials) ── port-restricted      b (serves) ── symmetric, both 6 s
#   c (the same, assuming 30 s)       d (the same, assuming 30 s)
#   e (doctor) ── symmetric, 6 s
set -euo pipefail
# shellcheck source=tests/netlab/roaming.sh
. "$(dirname "$0")/roaming.sh"
command -v dhtnode >/dev/null || lab_skip "no dhtnode"

quiet=13
work=$(mktemp -d)
roam_begin "$work"
trap 'lab_end; rm -rf "$work"' EXIT
lab_net 'side a portrestricted udp_timeout=6; side b symmetric udp_timeout=6
         side c portrestricted udp_timeout=6; side d symmetric udp_timeout=6
         side e symmetric udp_timeout=6'

fail() {
    echo "FAILED: $*"
    for file in "$work"/*-serve "$work"/*-dial; do
        echo "--- $file"
        tail -n 25 "$file"
    done
    exit 1
}

# serve NAME HOST OPTION…, dial NAME HOST OPTION…: in the background.
serve() {
    local name=$1 host=$2
    shift 2
    mkdir -m 700 "$lab_dir/$name-s" "$lab_dir/$name-d"
    lab_spawn "$host" "$work/$name-serve" timeout 150 "$roam_covim" echo serve \
        --data-dir "$lab_dir/$name-s" --log debug "${roam_world[@]}" "$@"
}

declare -A dials=()
dial() {
    local name=$1 host=$2
    shift 2
    lab_spawn "$host" "$work/$name-dial" timeout 130 "$roam_covim" echo dial \
        --data-dir "$lab_dir/$name-d" --log debug --timeout 60 --warm \
        --interval $((quiet * 1000)) --for $((quiet + 5)) \
        "${roam_world[@]}" "$@" \
        "$(sed -n 's/.*"key":"\([^"]*\)".*/\1/p' "$work/$name-serve")"
    dials[$name]=$lab_pid
}

mkdir -m 700 "$lab_dir/e"
lab_spawn e "$work/doctor" timeout 100 "$roam_covim" doctor --slow \
    --data-dir "$lab_dir/e" "${roam_world[@]}"
doctor=$lab_pid
serve measured b
serve assumed d --nat-timeout 30
for name in measured assumed; do
    lab_wait 30 grep -q '"event":"published"' "$work/$name-serve" ||
        fail "$name: nothing is served"
done
# What it takes to know: three seconds for the kind of NAT, then nine.
lab_wait 40 grep -q 'idle mappings are kept 5 s, and no longer' \
    "$work/measured-serve" || fail "the life of mappings was not measured"
dial measured a
dial assumed c --nat-timeout 30
for name in measured assumed; do
    wait "${dials[$name]}" || fail "$name: dial ended with $?"
done
# after NAME: what happened from the first echo on.
after() {
    sed -n '/"event":"echo","n":1/,$p' "$work/$1-dial"
}
echoes() {
    grep -c '"event":"echo"' "$work/$1-dial"
}
for name in measured assumed; do
    [ "$(echoes $name)" = 2 ] || fail "$name: not two echoes"
done
! after measured | grep -qE '"event":"(knock|path|switched)"' ||
    fail "the path was lost though its keep-alives were measured"
after assumed | grep -qE '"event":"(knock|path|switched)"' ||
    fail "the path was not lost with keep-alives for 30 s: nothing is shown"
for name in measured assumed; do
    after $name | sed -n 's/.*"n":2,"rtt_ms":\([0-9.]*\).*/'$name': \1 ms/p'
done
wait "$doctor" || :
grep -q '^note  *timeout  *the NAT keeps an idle UDP mapping for 5 s, but not' \
    "$work/doctor" || fail "doctor: $(cat "$work/doctor")"
grep -q 'idle are used every 2 s' "$work/doctor" ||
    fail "doctor: $(cat "$work/doctor")"
