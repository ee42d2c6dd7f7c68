# A real covim-gate on loopback; sourced by tests/e2e/gate_*.sh.
set -euo pipefail

gate=$COVIM_BUILD/gate/covim-gate
probe=$COVIM_BUILD/tests/gate_probe
dir=$(mktemp -d)
pid=
stop_gate() {
    [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true
    pid=
}
trap 'stop_gate; rm -rf "$dir"' EXIT

fail() {
    echo "FAIL: $*"
    sed 's/^/  log: /' "$dir/log" 2>/dev/null || true
    exit 1
}

# wait_for SECONDS WHAT COMMAND…: until the command succeeds.
wait_for() {
    local left=$(($1 * 10)) what=$2
    shift 2
    until "$@"; do
        left=$((left - 1))
        [ $left -gt 0 ] || fail "$what"
        sleep 0.1
    done
}

# One that TCP and UDP may have, and that nobody else is given meanwhile: it is
# not among those of connections.
free_port() {
    python3 -c 'import random, socket
while True:
    port = random.randrange(10000, 30000)
    try:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            socket.socket(socket.AF_INET, kind).bind(("127.0.0.1", port))
        break
    except OSError:
        pass
print(port)'
}

# start_gate OPTION…: sets pid, port, page (of metrics), proxied, name.
start_gate() {
    port=$(free_port) page=$(free_port) proxied=$(free_port)
    "$gate" --listen "127.0.0.1:$port" --metrics "127.0.0.1:$page" \
        --listen-proxied "127.0.0.1:$proxied" --key "$dir/key" "$@" \
        2>"$dir/log" &
    pid=$!
    wait_for 10 "the gate listens" grep -q "listening" "$dir/log"
    name=$("$gate" --key "$dir/key" --name "127.0.0.1:$port" --print-name)
}

get() {
    python3 - "$page" "$1" <<'TEXT'
import sys, urllib.request
try:
    print(urllib.request.urlopen(
        f"http://127.0.0.1:{sys.argv[1]}{sys.argv[2]}", timeout=5).read().decode())
except urllib.error.HTTPError as e:
    print(e.code, e.read().decode())
TEXT
}

# metric NAME: its value.
metric() {
    get /metrics | sed -n "s/^covim_gate_$1 //p"
}

says() { # WANT COMMAND…
    local want=$1 have
    shift
    have=$("$@") || fail "$* failed: $have"
    [ "$have" = "$want" ] || fail "$* says \"$have\", not \"$want\""
}
