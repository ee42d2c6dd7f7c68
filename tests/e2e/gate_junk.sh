#!/usr/bin/env bash
# A thousand values of junk lie in the inbox of whoever shares, and more come
# wherever the inbox goes: over a gate people join within 3 s all the same.
#
# That the gate is what saves them this does not prove: at the end somebody joins
# without it, and is not slower (0.8 s, and 0.5 to 1.0 s over the gate, on two
# busy cores), for the inbox moves when it is flooded, and what is listened at
# says of each value once that it is there.  It is the same when no more junk
# comes but all keys are full, those of the inbox and the one that the pointers
# lie at, with 1,200 values each, of which nodes keep 1,024 (GATE_JUNK=fill,
# for half a minute: 0.7 s without the gate, 0.5 to 1.0 s with it).
set -euo pipefail
# shellcheck source=tests/e2e/bad.sh
. "$(dirname "$0")/bad.sh"

gate=$COVIM_BUILD/gate/covim-gate
junk=${GATE_JUNK:-flood}
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
lab_spawn h3 "$work/junk.err" "$COVIM_BUILD/tests/junk" "$junk" "$key" \
    "$work/host.data/identity" 20.0.0.1:4222
junk_pid=$lab_pid
values() { # 1 (known to lie there) or 4 (put), HOW MANY
    [ "$(awk '/values of/ { n = $'"$1"' } END { print n + 0 }' \
        "$work/junk.err")" -ge "$2" ]
}
case $junk in
flood) lab_wait 60 values 1 1000 || fail "there are no 1,000 values of junk" ;;
fill)
    lab_wait 60 values 4 6000 || fail "there are no 6,000 values of junk"
    stop "$junk_pid"
    ;;
esac
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

step "without the gate, to compare"
started=$(date +%s%N)
join_spawn alone h2 "$key" "$work/alone.txt"
if lab_wait 20 cmp -s "$work/alone.txt" "$work/shared.txt"; then
    echo "without: $((($(date +%s%N) - started) / 1000000)) ms"
else
    echo "without: not within 20 s"
fi
stop "$join_pid"
dead "$junk_pid" || stop "$junk_pid"
stop "$share_pid"
