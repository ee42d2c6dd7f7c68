#!/bin/bash
# `covim echo`: milestones in their order, an echo, bulk that comes back the
# same, and an end that says why.
# shellcheck source=tests/e2e/dhtnode.sh
. "$(dirname "$0")/dhtnode.sh"
covim=${COVIM_BUILD:?}/cli/covim
fail() {
    echo "FAILED: $*"
    tail -n 30 "$dir"/*.out "$dir"/*.err
    exit 1
}

"$covim" echo serve --no-lan --data-dir "$dir/a" >"$dir/serve.out" \
    2>"$dir/serve.err" &
pids+=($!)
for _ in $(seq 200); do grep -q published "$dir/serve.out" && break; sleep 0.1; done
key=$(sed -n 's/.*"key":"\([^"]*\)".*/\1/p' "$dir/serve.out")
[ -n "$key" ] || fail "the server prints no key"

dial() { # NAME OPTION…; the exit code is in $code
    local name=$1
    shift
    timeout 60 "$covim" echo dial --no-lan --data-dir "$dir/b" "$@" \
        >"$dir/$name.out" 2>"$dir/$name.err"
    code=$?
}
# In the order they came; the peer's answer and its checks race with ours.
events() {
    sed 's/.*"event":"\([^"]*\)".*/\1/' "$1" |
        grep -vxe heard -e answer -e gathered | xargs
}

dial one --warm "$key"
[ $code = 0 ] || fail "dial ended with $code"
want="ready dial pointer knock check path handshake confirmed stream member"
[ "$(events "$dir/one.out")" = "$want echo result" ] ||
    fail "other events: $(events "$dir/one.out")"
grep -q '"event":"answer".*"candidates":' "$dir/one.out" || fail "no answer"
grep -q '"event":"result","ok":true,"path":"lan",.*"echo_ms":' "$dir/one.out" ||
    fail "no result"
# No address is shown unless asked for, and no key but the server's own.
grep -q '127\.0\.0\.1' "$dir"/*.out && fail "addresses are shown"
grep -q covim1 "$dir/one.out" && fail "a key is shown"

dial bulk --bytes 5000000 --show-addresses "$key"
[ $code = 0 ] || fail "bulk ended with $code"
grep -q '"event":"result","ok":true.*"bytes":5000032' "$dir/bulk.out" ||
    fail "not all bytes came back"
grep -Eq '"address":"[0-9]+\.' "$dir/bulk.out" || fail "addresses are not shown"

dial many --interval 50 --for 1 "$key"
[ $code = 0 ] || fail "repeating ended with $code"
[ "$(grep -c '"event":"echo"' "$dir/many.out")" -gt 5 ] || fail "few echoes"

kill "${pids[1]}"
wait "${pids[1]}" 2>/dev/null
nobody=$("$covim" echo serve --no-lan --data-dir "$dir/c" --for 1 |
    sed -n 's/.*"key":"\([^"]*\)".*/\1/p')
dial none --timeout 2 "$nobody"
[ $code = 3 ] || fail "nobody is there, and the exit code is $code"
dial bad "covim1nonsense"
[ $code = 2 ] || fail "a bad key, and the exit code is $code"
exit 0
