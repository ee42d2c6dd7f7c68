#!/usr/bin/env bash
# covim-gate as its operator knows it: key, name, check, reload, drain, pages.
# shellcheck source=tests/e2e/gate_kit.sh
. "$(dirname "$0")/gate_kit.sh"

# Its key is made at the first start, for nobody else to read.
chmod 700 "$dir"
name=$("$gate" --key "$dir/key" --name gate.example:8443 --print-name)
[[ $name == covimgate1*@gate.example:8443 ]] || fail "the name is $name"
[ "$(stat -c %a "$dir/key")" = 600 ] || fail "the key is open to others"
says "$name" "$gate" --key "$dir/key" --name gate.example:8443 --print-name
"$gate" --check --key "$dir/key" --listen 127.0.0.1:0 --metrics off \
    >"$dir/check" 2>&1 || fail "--check fails: $(cat "$dir/check")"
for word in 'in order' 'TCP, packets by UDP' 'policy open' 'open files' clock; do
    grep -q "$word" "$dir/check" || fail "--check does not speak of $word"
done
code=0
"$gate" --rate nonsense 2>"$dir/log" || code=$?
[ $code = 2 ] && grep -q 'rate "nonsense" is not a number' "$dir/log" ||
    fail "a wrong setting ends with $code"

# It serves, and says so.
cat >"$dir/conf" <<TEXT
# of this test
policy open
rate 100M
TEXT
start_gate --config "$dir/conf" --drain 3
says in "$probe" "$name" try
says in "$probe" "$name" try plain "$proxied"
says "links 50 udp 50" "$probe" "$name" send 50
says ok get /health
[ "$(metric links_accepted_total)" = 4 ] || fail "4 links are not counted"
[ "$(metric packets_udp_total)" = 50 ] || fail "50 packets are not counted"
[ "$(metric resident_bytes)" -lt $((64 << 20)) ] || fail "it is huge"
[ "$(sed -n 's/^NoNewPrivs:\t//p' "/proc/$pid/status")" = 1 ] ||
    fail "it may gain privileges"
[ "$(sed -n 's/^CapEff:\t//p' "/proc/$pid/status")" = 0000000000000000 ] ||
    fail "it keeps capabilities"

# SIGHUP: a wrong file changes nothing, a right one is followed.
echo 'policy everybody' >"$dir/conf"
kill -HUP "$pid"
wait_for 5 "a wrong file is reported" grep -q 'policy "everybody"' "$dir/log"
says in "$probe" "$name" try
printf 'policy token\ntoken abcdefghijklmnopq\n' >"$dir/conf"
kill -HUP "$pid"
wait_for 5 "a right file is read" grep -q 'read again' "$dir/log"
says refused "$probe" "$name" try
printf 'policy open\n' >"$dir/conf"
kill -HUP "$pid"
sleep 1
says in "$probe" "$name" try

# SIGTERM: who is there is told, nobody else comes in, and it ends.
"$probe" "$name" stay >"$dir/stay" &
stayer=$!
wait_for 5 "one is in" grep -q in "$dir/stay"
kill -TERM "$pid"
wait_for 5 "it says goodbye" grep -q 'bye 3000' "$dir/stay"
[[ $(get /health) == "503 draining"* ]] || fail "its page does not say so"
says refused "$probe" "$name" try
kill "$stayer"
code=0
wait "$pid" || code=$?
pid=
[ $code = 0 ] || fail "it ends with $code"
! grep -q '127\.0\.0\.1' "$dir/log" || fail "there are addresses in the log"
echo "gate_ops: key, name, check, pages, reload and drain are in order"
