#!/usr/bin/env bash
# Somebody who has the session key puts garbage, forged, expired and replayed
# pointers and knocks where the real ones are, in a real DHT: people still meet
# and edit, every such record is dropped and says why, and nobody grows.
set -euo pipefail
# shellcheck source=tests/e2e/bad.sh
. "$(dirname "$0")/bad.sh"

bad_lab
printf 'shared text\n' >"$work/shared.txt"
share host h1 "$work/shared.txt" --open
published host
rss() {
    awk '/^VmRSS/ { print $2 }' "/proc/$1/status"
}
before=$(rss "$share_pid")

step "junk comes, and then a guest"
lab_spawn h3 "$work/junk.err" "$COVIM_BUILD/tests/junk" spray "$key" \
    "$work/host.data/identity" 20.0.0.1:4222
junk_pid=$lab_pid
lab_wait 20 grep -q 'records put' "$work/junk.err" || fail "there is no junk"
lab_wait 10 grep -q 'knock dropped' "$work/host.err" || fail "no junk arrives"
started=$SECONDS
join_spawn guest h2 "$key" "$work/guest.txt"
lab_wait 40 cmp -s "$work/guest.txt" "$work/shared.txt" || fail "no text"
echo "met after $((SECONDS - started)) s"

# dropped NAME WHAT WHY…: the log says so for each reason.
dropped() {
    local name=$1 what=$2 why
    shift 2
    for why in "$@"; do
        lab_wait 20 grep -q "rendezvous: $what dropped, why=\"$why\"" \
            "$work/$name.err" || fail "$name dropped no $what for \"$why\""
    done
}

step "what was dropped, and why"
dropped guest pointer 'malformed data' 'authentication failed' 'expired' \
    'seen before'
dropped host knock 'malformed data' 'authentication failed' 'expired' \
    'not found' 'seen before'
lab_wait 20 grep -q 'recorded a knock' "$work/junk.err" ||
    fail "the guest's knock was not recorded"

guest_pid=$join_pid

step "both edit while it goes on"
sleep 3
echo 'from the host' >>"$work/shared.txt"
lab_wait 10 grep -q 'from the host' "$work/guest.txt" || fail "not at the guest"
sed -i '1i from the guest' "$work/guest.txt"
lab_wait 10 grep -q 'from the guest' "$work/shared.txt" || fail "not at the host"
cmp "$work/shared.txt" "$work/guest.txt" || fail "the texts differ"
grown=$(($(rss "$share_pid") - before))
most=16384
! ldd "$covim" | grep -q libasan || most=131072 # it keeps what was freed
[ $grown -lt $most ] || fail "the host has grown by $grown KiB"
[ "$(grep -c 'info: meeting: joined' "$work/host.err")" = 1 ] ||
    fail "somebody else came in"

step "another guest, after all that"
started=$SECONDS
join_spawn late h1 "$key" "$work/late.txt"
lab_wait 60 cmp -s "$work/late.txt" "$work/shared.txt" || fail "no text"
echo "met after $((SECONDS - started)) s"

stop "$junk_pid"
tail -n 1 "$work/junk.err"
echo "the host has grown by $grown KiB"
for name in host guest late; do
    echo "$name:"
    sed -n 's/.* \([a-z]* dropped, why=.*\)/\1/p' "$work/$name.err" |
        sort | uniq -c # late may have met before it read any
done
stop "$join_pid"
stop "$guest_pid"
stop "$share_pid"
