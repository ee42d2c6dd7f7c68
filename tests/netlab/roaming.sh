# shellcheck shell=bash
# Two hosts of the lab, a and b, that are connected ("covim echo") while their
# network changes; for tests and benchmarks.
#
#   . roaming.sh
#   roam_begin DIR           a lab with STUN servers and a DHT; logs go to DIR
#   roam_pair KIND KIND      what a and b are behind
#   roam_connect OPTION…     b serves, a dials with these options
#   roam_rebind NAME a|b     its NAT forgets; NAME is for the list of events
#   roam_move NAME a|b       to the other one of two networks: its own, and c or d
#   roam_storm BYTES EVENTS SEED SECONDS   a transfer with all of that
#   roam_end                 until the dialling side ends

# shellcheck source=tests/netlab/lab.sh
. "$(dirname "${BASH_SOURCE[0]}")/lab.sh"
roam_covim=$COVIM_BUILD/cli/covim

roam_begin() {
    local i one two
    roam_dir=$1
    mkdir -p "$roam_dir"
    lab_begin delay=25 "${@:2}" >&2
    mkfifo "$lab_dir/never"
    exec 9<>"$lab_dir/never" # a dhtnode ends when its input does
    lab_net 'public p addresses=2; public q'
    one=${lab_ip[p]}
    two=${lab_ip[p]%.1}.2
    lab_spawn p "$roam_dir/stun-p.log" "$roam_covim" stun \
        --listen "$one:3478" --listen "$one:3479" \
        --listen "$two:3478" --listen "$two:3479"
    lab_spawn q "$roam_dir/stun-q.log" "$roam_covim" stun \
        --listen "${lab_ip[q]}:3478"
    for i in 1 2 3 4; do
        lab_net "public d$i"
        ip netns exec "$lab_id-d$i" dhtnode -p 4222 -b "${lab_ip[d1]}:4222" \
            <&9 >"$roam_dir/dht-$i.log" 2>&1 &
        lab_pids+=($!)
    done
    roam_world=(--no-lan --bootstrap "${lab_ip[d1]}:4222,${lab_ip[d2]}:4222"
        --stun "$one:3478,$two:3479,${lab_ip[q]}:3478")
    : >"$roam_dir/events"
    declare -gA roam_home=([a]=a-nat [b]=b-nat) roam_away=([a]=c [b]=d)
    declare -gA roam_at=([a]=a-nat [b]=b-nat)
}

# The outermost NAT of a cgn is the one that forgets.
roam_pair() { # KIND KIND
    lab_net "side a $1; side b $2"
    [ "$1" != cgn ] || roam_at[a]=a-nat-cgn
    [ "$2" != cgn ] || roam_at[b]=b-nat-cgn
}

roam_show() {
    tail -n 60 "$roam_dir"/serve "$roam_dir"/dial
}

roam_connect() { # OPTION…
    mkdir -m 700 -p "$lab_dir/s" "$lab_dir/d"
    lab_spawn b "$roam_dir/serve" "$roam_covim" echo serve "${roam_world[@]}" \
        --data-dir "$lab_dir/s" --log debug
    lab_wait 20 grep -q '"event":"published"' "$roam_dir/serve" || {
        roam_show
        return 1
    }
    lab_spawn a "$roam_dir/dial" "$roam_covim" echo dial --warm \
        --timeout 40 --log debug --data-dir "$lab_dir/d" "${roam_world[@]}" \
        "$@" "$(sed -n 's/.*"key":"\([^"]*\)".*/\1/p' "$roam_dir/serve")"
    roam_pid=$lab_pid
    lab_wait 60 grep -q '"event":"echo"' "$roam_dir/dial" || {
        roam_show
        return 1
    }
}

roam_end() {
    local rc=0
    wait "$roam_pid" || rc=$?
    [ $rc = 0 ] || echo "dial ended with $rc" >&2
    return $rc
}

# CLOCK_REALTIME of the shell; the one of the lines is monotonic.
roam_note() {
    [ "$1" = - ] || echo "$EPOCHREALTIME $*" >>"$roam_dir/events"
}

roam_rebind() { # NAME a|b
    roam_note "$1"
    lab_rebind "${roam_at[$2]}"
}

roam_move() { # NAME a|b
    local to=${roam_away[$2]}
    [ "${lab_host_router[$2]}" != "$to" ] || to=${roam_home[$2]}
    # Who comes back has the address it had there, as DHCP gives it, but the
    # NAT remembers nothing.
    lab_rebind "$to"
    lab_move "$2" "$to" "${lab_lan[$to]}.2"
    roam_at[$2]=$to
    roam_note "$1"
}

# So many bytes have come back.
roam_came() {
    sed -n 's/.*"event":"progress".*"bytes":\([0-9]*\).*/\1/p' "$roam_dir/dial" |
        tail -n 1
}

# The events are even over the bytes; which they are is the seed's.
roam_storm() { # BYTES EVENTS SEED SECONDS
    local bytes=$1 events=$2 end=$((SECONDS + $4)) i=0 came side what
    RANDOM=$3
    roam_connect --bytes "$bytes" --interval 100
    while kill -0 "$roam_pid" 2>/dev/null; do
        [ $SECONDS -lt $end ] || {
            echo "not done in $4 s" >&2
            kill "$roam_pid"
            break
        }
        came=$(roam_came)
        # By chance earlier than its turn: while the one before is not over.
        if [ $i -lt "$events" ] &&
            { [ $((${came:-0})) -ge $((bytes / (events + 1) * (i + 1))) ] ||
                [ $((RANDOM % 40)) = 0 ]; }; then
            side=a
            [ $((RANDOM % 2)) = 0 ] || side=b
            what=roam_rebind
            [ $((RANDOM % 3)) != 0 ] || what=roam_move
            $what "$what-$side" $side
            i=$((i + 1))
        else
            sleep 0.05
        fi
    done
    roam_end
}
