#!/bin/bash
# docs/examples/echo.c, as a server and as a client, through a dhtnode of this
# machine: 3 MB go there and come back the same.
# shellcheck source=tests/e2e/dhtnode.sh
. "$(dirname "$0")/dhtnode.sh"
echo=${COVIM_BUILD:?}/tests/example_echo
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
