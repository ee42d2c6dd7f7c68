#!/usr/bin/env bash
# Whoever took a gate over could read no file and write none, run nothing, and
# go nowhere: tried from within, with the sandbox and without.
# shellcheck source=tests/e2e/gate_kit.sh
. "$(dirname "$0")/gate_kit.sh"

chmod 700 "$dir"
try_within() { # OPTION…: what came of each try, in $dir/try/tried
    mkdir "$dir/try"
    echo something >"$dir/try/secret"
    GATE_TRY=$dir/try LD_PRELOAD=$COVIM_BUILD/tests/gate_try.so \
        ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0 \
        start_gate_here "$@"
    says in "$probe" "$name" try
    kill -USR1 "$pid"
    wait_for 5 "it tries" grep -q '^signal' "$dir/try/tried"
    sleep 0.2
}
# As start_gate, but the tool that prints the name tries nothing.
start_gate_here() {
    port=$(free_port)
    "$gate" --listen "127.0.0.1:$port" --metrics off --key "$dir/key" "$@" \
        2>"$dir/log" &
    pid=$!
    unset LD_PRELOAD
    wait_for 10 "the gate listens" grep -q "listening" "$dir/log"
    name=$("$gate" --key "$dir/key" --name "127.0.0.1:$port" --print-name)
}
came_of() { # WHAT WANT…
    local what=$1 have want
    shift
    have=$(sed -n "s/^$what //p" "$dir/try/tried")
    for want; do
        [ "$have" != "$want" ] || return 0
    done
    fail "$what: $have, not $*"
}

# Each of them can be done at all, or this shows nothing.
try_within --sandbox no
cat "$dir/try/tried"
for what in read-proc read create remove signal; do
    came_of "$what" done
done
came_of connect 'Connection refused'
! grep -q '^execute' "$dir/try/tried" || fail "/bin/true cannot be run"
[ -e "$dir/try/fresh" ] && [ ! -e "$dir/try/secret" ] || fail "no files"
stop_gate

rm -r "$dir/try"
try_within --dht yes --dht-port "$(free_port)"
if grep -q 'no Landlock' "$dir/log"; then
    echo "SKIP: the kernel has no Landlock"
    exit 77
fi
cat "$dir/try/tried"
came_of read-proc done # the page of metrics needs it
for what in read create remove execute; do
    came_of "$what" forbidden
done
# Linux 6.7 forbids TCP, 6.12 signals.
version=$(python3 -c 'import ctypes
print(ctypes.CDLL(None).syscall(444, None, 0, 1))')
if [ "$version" -ge 4 ]; then
    came_of connect forbidden
    came_of bind forbidden
fi
[ "$version" -lt 6 ] || came_of signal forbidden
[ -e "$dir/try/secret" ] || fail "the file is gone"
# The threads of the DHT, too.
[ "$(ls "/proc/$pid/task" | wc -l)" -gt 1 ] || fail "there are no threads"
for task in "/proc/$pid/task"/*; do
    grep -q '^NoNewPrivs:.1$' "$task/status" &&
        grep -q '^CapEff:.0000000000000000$' "$task/status" ||
        fail "a thread has more rights"
done
says in "$probe" "$name" try
says "links 5 udp 5" "$probe" "$name" send 5
echo "gate_sandbox: Landlock $version holds"
