# tests/e2e/bad.sh - what the tests of bad input have in common.
#
# Sourced by bash with `set -euo pipefail`.  One segment without NATs:
#
#   pub 20.0.0.1 (DHT, STUN) ── wan ──┬── h1 20.0.0.21
#                                     ├── h2 20.0.0.22
#                                     └── h3 20.0.0.23

# shellcheck shell=bash
# shellcheck source=tests/netlab/lab.sh
. "$(dirname "${BASH_SOURCE[0]}")/../netlab/lab.sh"
# shellcheck source=tests/e2e/vims.sh
. "$(dirname "${BASH_SOURCE[0]}")/vims.sh"

fail_also() {
    local log
    for log in "$work"/*.err; do
        [ -e "$log" ] || continue
        echo "--- $log"
        # A flood would be all that is seen of whom it hits.
        grep -v 'knock dropped' "$log" | tail -n 200 || :
    done
}

bad_lab() {
    vims_need
    lab_begin
    trap vims_end EXIT
    lab_public pub 20.0.0.1
    lab_public h1 20.0.0.21
    lab_public h2 20.0.0.22
    lab_public h3 20.0.0.23
    lab_spawn pub "$work/dht.log" dhtnode -s -p 4222
    lab_spawn pub "$work/stun.log" "$covim" stun --listen 20.0.0.1:3478
}

# Options of a headless covim; the data of NAME are kept.
node_options() {
    echo "--data-dir $work/$1.data --bootstrap 20.0.0.1:4222
        --stun 20.0.0.1:3478 --no-lan --log debug --name $1"
}

# share NAME SPACE FILE [OPTION…]: in the background; the key is in $key, the
# pid in $share_pid, the log in $work/NAME.err.
share() {
    local name=$1 space=$2 file=$3
    shift 3
    # shellcheck disable=SC2046
    ip netns exec "$lab_id-$space" "$covim" share $(node_options "$name") "$@" \
        "$file" >"$work/$name.out" 2>"$work/$name.err" </dev/null &
    share_pid=$!
    lab_pids+=("$share_pid")
    lab_wait 10 grep -q '^covim1' "$work/$name.out" || fail "$name shows no key"
    key=$(cat "$work/$name.out")
}

# join NAME SPACE KEY FILE [OPTION…]: in the foreground; the exit code is in
# $status, what it said in $work/NAME.err.
join() {
    local name=$1 space=$2 key=$3 file=$4
    shift 4
    status=0
    # shellcheck disable=SC2046
    timeout 60 ip netns exec "$lab_id-$space" "$covim" join \
        $(node_options "$name") "$@" "$key" "$file" \
        >"$work/$name.out" 2>"$work/$name.err" </dev/null || status=$?
}

# join_spawn NAME SPACE KEY FILE [OPTION…]: in the background; the pid is in
# $join_pid.
join_spawn() {
    local name=$1 space=$2 key=$3 file=$4
    shift 4
    # shellcheck disable=SC2046
    ip netns exec "$lab_id-$space" "$covim" join $(node_options "$name") \
        "$@" "$key" "$file" >"$work/$name.out" 2>"$work/$name.err" </dev/null &
    join_pid=$!
    lab_pids+=("$join_pid")
}

# stop PID: ask it to end, and see that it does.
stop() {
    kill "$1"
    lab_wait 10 dead "$1" || fail "process $1 does not end"
}

dead() {
    ! kill -0 "$1" 2>/dev/null
}

# says NAME PATTERN: is it among what covim told the user of that Vim?
says() {
    vim_eval "$1" 'join(covim#ui#lines(), "\n")' | grep -q "$2"
}

# published NAME: the log of a headless share says that others can find it.
published() {
    lab_wait 15 grep -q 'placed -> published' "$work/$1.err" ||
        fail "$1 was not published"
}

vim_pid() {
    vim_eval "$1" 'covim#vim#pid()'
}
