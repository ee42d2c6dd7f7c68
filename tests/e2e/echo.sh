#!/bin/bash
# docs/examples/echo.c, as a server and as a client, through a dhtnode of this
# machine: 3 MB go there and come back the same.
set -u
echo=${COVIM_BUILD:?}/tests/example_echo
command -v dhtnode >/dev/null || { echo "no dhtnode"; exit 77; }
dir=$(mktemp -d)
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; done
    wait 2>/dev/null
    rm -rf "$dir"
}
trap finish EXIT
port=$((20000 + RANDOM % 20000))
mkfifo "$dir/never"
exec 3<>"$dir/never" # it ends when its input does
dhtnode -p "$port" <&3 >/dev/null 2>&1 &
pids+=($!)
export COVIM_BOOTSTRAP=127.0.0.1:$port
XDG_DATA_HOME=$dir/a "$echo" >"$dir/key" 2>"$dir/a.log" &
pids+=($!)
for _ in $(seq 100); do [ -s "$dir/key" ] && break; sleep 0.1; done
head -c 3000000 /dev/urandom >"$dir/in"
XDG_DATA_HOME=$dir/b timeout 60 "$echo" "$(cat "$dir/key")" \
    <"$dir/in" >"$dir/out" 2>"$dir/b.log"
status=$?
if [ $status -ne 0 ] || ! cmp "$dir/in" "$dir/out"; then
    echo "client ended with $status"
    tail "$dir/a.log" "$dir/b.log"
    exit 1
fi
