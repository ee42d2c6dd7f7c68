#!/usr/bin/env bash
# A thousand values of junk lie in the inbox of whoever shares, and more come
# wherever the inbox goes: over a gate people join within 3 s all the same.
set -euo pipefail
# shellcheck source=tests/e2e/bad.sh
. "$(dirname "$0")/bad.sh"

gate=$COVIM_BUILD/gate/covim-gate
bad_lab
lab_wan set delay=25 loss=0.05
lab_public g 20.0.0.2
mkdir -m 700 "$work/gate"
gate_options=(--listen 20.0.0.2:443 --key "$work/gate/key" --metrics off)
lab_spawn g "$work/gate.err" "$gate" "${gate_options[@]}"
name=$(lab_in g "$gate" "${gate_options[@]}" --name 20.0.0.2 --print-name)
# The inbox is at several nodes, as everywhere.
for i in 3 4 5 6; do
    lab_public "n$i" "20.0.0.$i"
    lab_spawn "n$i" "$work/dht$i.log" dhtnode -s -p 4222 -b 20.0.0.1:4222
done

printf 'shared text\n' >"$work/shared.txt"
share host h1 "$work/shared.txt" --open --gate "$name"
published host

step "the flood rises"
lab_spawn h3 "$work/junk.err" "$COVIM_BUILD/tests/junk" flood "$key" \
    "$work/host.data/identity" 20.0.0.1:4222
junk_pid=$lab_pid
in_inbox() {
    [ "$(awk '/values of/ { n = $1 } END { print n + 0 }' "$work/junk.err")" \
        -ge "$1" ]
}
lab_wait 60 in_inbox 1000 || fail "there are no 1,000 values of junk"
tail -n 1 "$work/junk.err"
lab_wait 10 grep -q 'knock dropped' "$work/host.err" || fail "no junk arrives"

step "guests come over the gate"
slowest=0
for i in 1 2 3; do
    # What one has learnt does not help the next one.
    started=$(date +%s%N)
    join_spawn "guest$i" h2 "$key" "$work/guest$i.txt" --gate "$name"
    lab_wait 30 cmp -s "$work/guest$i.txt" "$work/shared.txt" || fail "no text"
    took=$((($(date +%s%N) - started) / 1000000))
    echo "guest $i has the text $took ms after it was started"
    [ $took -lt $slowest ] || slowest=$took
    stop "$join_pid"
done
tail -n 1 "$work/junk.err"
echo "the host has dropped $(grep -c 'knock dropped' "$work/host.err") knocks"
most=3000
! ldd "$covim" | grep -q libasan || most=10000
[ "$slowest" -lt $most ] || fail "it took $slowest ms"

step "without the gate, to see what it is good for"
started=$(date +%s%N)
join_spawn alone h2 "$key" "$work/alone.txt"
if lab_wait 20 cmp -s "$work/alone.txt" "$work/shared.txt"; then
    echo "without: $((($(date +%s%N) - started) / 1000000)) ms"
else
    echo "without: not within 20 s"
fi
stop "$join_pid"
stop "$junk_pid"
stop "$share_pid"
