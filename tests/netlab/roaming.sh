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
#   roam_gate NAME OPTION…   a gate on a host of its own; before roam_connect
#   roam_gate_pair           one, and the pair that changes to it and from it
#   roam_cut, roam_restore   the direct path drops all packets, and none again;
#                            both wait until the connection has changed
#   roam_swaps BYTES CHANGES SECONDS   a transfer with so many changes
#   roam_warm SECONDS        prints what the gate beside a direct path costs
#   roam_deaths N            so many cuts and returns while echoes go on
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
roam_note() { # NAME [TIME]
    [ "$1" = - ] || echo "${2:-$EPOCHREALTIME} $1" >>"$roam_dir/events"
}

roam_rebind() { # NAME a|b
    lab_rebind "${roam_at[$2]}"
    roam_note "$1" "$lab_forgot"
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

roam_gate() { # NAME OPTION…
    local name=$1 gate=$COVIM_BUILD/gate/covim-gate key=$lab_dir/gate-$1
    shift
    lab_net "public $name"
    mkdir -m 700 "$key"
    lab_spawn "$name" "$roam_dir/gate-$name.log" "$gate" --key "$key/key" \
        --listen "${lab_ip[$name]}:443" --metrics off "$@"
    roam_world+=(--gate "$(lab_in "$name" "$gate" --key "$key/key" \
        --print-name --listen "${lab_ip[$name]}:443" --name "${lab_ip[$name]}")")
}

# Both behind NATs that can be punched, and a gate.
roam_gate_pair() {
    roam_gate g --rate 200M --burst 200M
    roam_world+=(--retry 200)
    roam_pair portrestricted portrestricted
}

# The path that the dialling side told last.
roam_is_direct() {
    case $(tac "$roam_dir/dial" | grep -o -m 1 '"path":"[a-z0-9-]*"') in
    *gate* | *none* | '') return 1 ;;
    esac
}

roam_is_relayed() {
    ! roam_is_direct
}

roam_cut() {
    roam_note cut
    lab_wan cut "${roam_at[a]}" "${roam_at[b]}"
    lab_wait 10 roam_is_relayed || {
        echo "it was not taken to the gate in 10 s" >&2
        return 1
    }
}

roam_restore() {
    roam_note restore
    lab_wan restore
    lab_wait 10 roam_is_direct || {
        echo "it did not become direct again in 10 s" >&2
        return 1
    }
}

# What is above so many bytes a second, each way, is dropped at the router of a:
# a short line, like many, and a transfer that lasts.
roam_narrow() { # BYTES
    lab_in a-nat nft -f - <<NFT
table inet narrow {
    chain through {
        type filter hook forward priority -10;
        iifname lan0 udp length > 200 limit rate over $1 bytes/second \
            burst 65536 bytes drop
        oifname lan0 udp length > 200 limit rate over $1 bytes/second \
            burst 65536 bytes drop
    }
}
NFT
}

# A change takes 0.5 s one way and 0.2 s the other, so the line is made as
# narrow that so many of them last about as long as the bytes.
roam_swaps() { # BYTES CHANGES SECONDS
    local end=$((SECONDS + $3)) i=0 came
    roam_narrow $(($1 * 100 / ($2 * 45)))
    roam_connect --bytes "$1" --interval 100 && lab_wait 20 roam_is_direct ||
        return 1
    while kill -0 "$roam_pid" 2>/dev/null; do
        [ $SECONDS -lt $end ] || {
            echo "not done in $3 s" >&2
            kill "$roam_pid"
            break
        }
        came=$(roam_came)
        if [ $i -ge "$2" ] ||
            [ $((${came:-0})) -lt $(($1 / ($2 + 1) * i)) ]; then
            sleep 0.05
        elif [ $((i % 2)) = 0 ]; then
            roam_cut
            i=$((i + 1))
        else
            roam_restore
            i=$((i + 1))
        fi || break
    done
    roam_end
}

# The pauses are for echoes, and for paths to be measured.
roam_deaths() { # N
    local i
    roam_connect --interval 50 --for 86400 && lab_wait 20 roam_is_direct ||
        return 1
    sleep 2
    for ((i = 0; i < $1; i++)); do
        roam_cut || return 1
        sleep "0.$((RANDOM % 900 + 100))"
        roam_restore || return 1
        sleep "1.$((RANDOM % 900 + 100))"
    done
    kill "$roam_pid"
    roam_end || : # it did not come to its end
}

# What an idle connection exchanges with gate g beside its direct path, in
# bytes of IP an hour.
roam_warm() { # SECONDS
    roam_connect --for 86400 && lab_wait 20 roam_is_direct || return 1
    sleep 5 # until it is still
    lab_in a-nat nft -f - <<NFT
table inet warm {
    chain through {
        type filter hook forward priority -10;
        ip daddr ${lab_ip[g]} counter
        ip saddr ${lab_ip[g]} counter
    }
}
NFT
    sleep "$1"
    lab_in a-nat nft list table inet warm |
        awk -v seconds="$1" '/bytes/ { sum += $NF }
            END { printf "%.0f\n", sum * 3600 / seconds }'
    kill "$roam_pid"
    roam_end || :
}

# So many bytes have come back.
roam_came() {
    tac "$roam_dir/dial" | sed -n \
        '/"event":"progress"/{s/.*"bytes":\([0-9]*\).*/\1/p;q}' || : # tac may meet a closed pipe
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
