#!/usr/bin/env bash
# A gate that may have any port takes one that is free for TCP and for UDP.
# There are eight here, of which somebody else has two, for UDP alone; one that
# is asked for by its number is not replaced.
set -euo pipefail
# shellcheck source=tests/netlab/lab.sh
. "$(dirname "$0")/lab.sh"

lab_begin
lab_space g
lab_in g sh -c 'echo 50000 50007 >/proc/sys/net/ipv4/ip_local_port_range'
lab_spawn g "$lab_dir/holder.log" python3 -c '
import socket, time
held = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
for s, port in zip(held, (50001, 50004)):
    s.bind(("127.0.0.1", port))
print("held", flush=True)
time.sleep(60)'
lab_wait 10 grep -q held "$lab_dir/holder.log"

# check ADDRESS: bind what a gate there needs, and let it go again.
check() {
    lab_in g "$COVIM_BUILD/gate/covim-gate" --check --key "$lab_dir/key" \
        --metrics off --listen "$1" >"$lab_dir/check.log" 2>&1
}
for i in {1..20}; do
    expect "start $i finds a port" check 127.0.0.1:0
done
expect "a port that is free" check 127.0.0.1:50002
expect "a port that is not" eval '! check 127.0.0.1:50004'
expect "which one" grep -q 'cannot bind UDP 127.0.0.1:50004' "$lab_dir/check.log"
