# tests/e2e/dhtnode.sh - a dhtnode of this machine; sourced by tests/e2e/echo*.sh.
#
# Sets dir, a folder that goes at the end, and COVIM_BOOTSTRAP.  Processes whose
# numbers are put into pids end with the test.
set -u
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
