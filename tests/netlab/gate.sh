#!/usr/bin/env bash
# A gate joins whom nothing else joins, carries a connection until a direct
# path is found, takes it back when that one dies, and may itself die.
set -euo pipefail
# shellcheck source=tests/netlab/lab.sh
. "$(dirname "$0")/lab.sh"
command -v dhtnode >/dev/null || lab_skip "no dhtnode"

covim=$COVIM_BUILD/cli/covim
gate=$COVIM_BUILD/gate/covim-gate

declare -A gate_pid
start_gate() { # NAME
    lab_spawn "$1" "$lab_dir/gate-$1.log" "$gate" --listen "${lab_ip[$1]}:443" \
        --key "$lab_dir/gate-$1/key" --metrics off
    gate_pid[$1]=$lab_pid
}

begin() { # TOPOLOGY [GATE…]: g is a gate, p the DHT and STUN
    local one
    lab_begin delay=25
    lab_net "public g; public p addresses=2; $1"
    common=()
    for one in g "${@:2}"; do
        mkdir -m 700 "$lab_dir/gate-$one"
        start_gate "$one"
        common+=(--gate "$(lab_in "$one" "$gate" --print-name \
            --key "$lab_dir/gate-$one/key" --listen "${lab_ip[$one]}:443" \
            --name "${lab_ip[$one]}")")
    done
    lab_spawn p "$lab_dir/dht.log" dhtnode -p 4222 -s
    lab_spawn p "$lab_dir/stun.log" "$covim" stun \
        --listen "${lab_ip[p]}:3478" --listen 20.0.2.2:3478
    common+=(--bootstrap "${lab_ip[p]}:4222" --stun "${lab_ip[p]}:3478"
        --no-lan --no-port-mapping)
    sleep 0.5
}

serve() { # NAME
    mkdir -m 700 "$lab_dir/$1"
    lab_spawn "$1" "$lab_dir/$1.log" "$covim" echo serve \
        --data-dir "$lab_dir/$1" "${common[@]}"
    expect "$1 serves" lab_wait 20 grep -q covim1 "$lab_dir/$1.log"
    key=$(grep -o 'covim1[a-z0-9]*' "$lab_dir/$1.log" | head -n 1)
    sleep 1 # its pointer is on its way
}

dial() { # NAME KEY SECONDS: in the background
    mkdir -m 700 "$lab_dir/$1"
    lab_spawn "$1" "$lab_dir/$1.log" "$covim" echo dial "$2" --warm \
        --data-dir "$lab_dir/$1" "${common[@]}" --interval 100 --for "$3" \
        --timeout 30
}

# Every echo that was asked for came, each once and in order.
all_echoes() { # NAME AT-LEAST
    python3 - "$lab_dir/$1.log" "$2" <<'PY'
import json, sys
lines = [json.loads(l) for l in open(sys.argv[1]) if l.startswith('{')]
n = [l['n'] for l in lines if l['event'] == 'echo']
result = [l for l in lines if l['event'] == 'result']
ok = n == list(range(1, len(n) + 1)) and len(n) >= int(sys.argv[2])
ok = ok and result and result[-1]['ok']
if not ok:
    print(n, result)
sys.exit(0 if ok else 1)
PY
}

path_is() { # NAME PATH: the last that was told
    [ "$(grep -o '"path":"[a-z0-9-]*"' "$lab_dir/$1.log" | tail -n 1)" = \
        "\"path\":\"$2\"" ]
}

# The longest round trip in milliseconds; an echo waits for the one before.
longest() { # NAME
    sed -n 's/.*"event":"echo".*"rtt_ms":\([0-9]*\).*/\1/p' "$lab_dir/$1.log" |
        sort -n | tail -n 1
}

hopeless_pairs_are_connected() {
    begin "side a tcp443only; side b tcp443only
           side c symmetric; side d symmetric"
    serve b
    dial a "$key" 2
    local first=$lab_pid
    serve d
    dial c "$key" 2
    wait "$first" "$lab_pid" || :
    expect "only TCP 443 on both sides: echoes" all_echoes a 5
    expect "symmetric on both sides: echoes" all_echoes c 5
    expect "a gate carries the one" path_is a gate-tls
    expect "a gate carries the other" path_is c gate-tls
    echo "hopeless: $(grep -h '"n":1,' "$lab_dir/a.log" "$lab_dir/c.log" |
        grep -o '"ms":[0-9.]*' | tr '\n' ' ')"
    lab_end
}

a_direct_path_outlives_the_gate_and_the_other_way_round() {
    begin "side a portrestricted; side b portrestricted"
    serve b
    dial a "$key" 16
    local dialler=$lab_pid
    expect "it becomes direct" lab_wait 15 path_is a ipv4
    kill -9 "${gate_pid[g]}"
    sleep 2
    expect "it stays direct without the gate" path_is a ipv4
    echo "direct, the gate killed: $(longest a) ms"
    start_gate g
    sleep 4 # both are back at the gate, and have a channel again
    lab_wan cut a-nat b-nat
    expect "the gate takes over" lab_wait 4 path_is a gate-tls
    wait "$dialler" || :
    expect "not one echo was lost" all_echoes a 40
    lab_end
}

# Looked for from both ends 12 s after the attempt began, and 30 s after it.
a_way_that_opens_later_is_found() {
    begin "side a portrestricted; side b portrestricted"
    serve b
    lab_wan cut a-nat b-nat
    dial a "$key" 16
    local dialler=$lab_pid
    expect "the gate carries them" lab_wait 15 grep -q '"n":5,' "$lab_dir/a.log"
    sleep 8 # until there is no hope
    expect "the gate still carries them" path_is a gate-tls
    lab_wan restore
    expect "it becomes direct" lab_wait 8 path_is a ipv4
    wait "$dialler" || :
    expect "not one echo was lost" all_echoes a 40
    lab_end
}

who_has_only_the_gate_comes_back_with_it() {
    begin "side a symmetric; side b symmetric"
    serve b
    dial a "$key" 12
    local dialler=$lab_pid
    expect "they are connected" lab_wait 15 grep -q '"n":5,' "$lab_dir/a.log"
    kill -9 "${gate_pid[g]}"
    sleep 2
    start_gate g
    wait "$dialler" || :
    expect "it goes on, and not one echo was lost" all_echoes a 25
    echo "one gate, away for two seconds: $(longest a) ms"
    lab_end
}

refusals() { # NAME
    grep -c 'net: channel gone' "$lab_dir/$1.log" || :
}

# The gate comes back, and only one of the two can reach it.  As long as they
# are direct, it is asked less and less for the other; when that ends it is asked
# at once.
a_gate_without_the_other_is_left_in_peace() {
    begin "side a portrestricted; side b portrestricted"
    common+=(--log debug)
    serve b
    dial a "$key" 28
    local dialler=$lab_pid asked
    expect "it becomes direct" lab_wait 15 path_is a ipv4
    lab_wan cut g b-nat
    kill -9 "${gate_pid[g]}"
    start_gate g
    asked=$(refusals a)
    sleep 8
    asked=$(($(refusals a) - asked))
    expect "a asks now and then: $asked times" [ "$asked" -ge 2 ]
    expect "not twice a second: $asked times" [ "$asked" -le 6 ]
    lab_wan restore
    sleep 7 # b is back there
    lab_wan cut a-nat b-nat
    expect "the gate takes over" lab_wait 5 path_is a gate-tls
    wait "$dialler" || :
    expect "not one echo was lost" all_echoes a 40
    echo "direct, then the gate again: $(longest a) ms"
    lab_end
}

# So many channels have been paths, at one end and at the other.
channels() { # N
    [ "$(grep -c 'pathset: new -> valid' "$lab_dir/a.log")" -ge "$1" ] &&
        [ "$(grep -c 'pathset: new -> valid' "$lab_dir/b.log")" -ge "$1" ]
}

one_of_two_gates_may_die() {
    begin "public h; side a symmetric; side b symmetric" h
    common+=(--log debug)
    serve b
    dial a "$key" 28
    local dialler=$lab_pid
    expect "they have two channels" lab_wait 15 channels 2
    kill -9 "${gate_pid[g]}"
    sleep 3
    start_gate g
    expect "they have two again" lab_wait 20 channels 3
    kill -9 "${gate_pid[h]}"
    wait "$dialler" || :
    expect "it goes on, and not one echo was lost" all_echoes a 60
    expect "within five seconds" [ "$(longest a)" -lt 5000 ]
    echo "one of two gates: $(longest a) ms"
    lab_end
}

# The packets that a has sent to a gate: all, or those of "udp".
packets_to() { # GATE [udp]
    lab_wan count | sed -n '/"from":"a-nat".*"to":"'"$1"'"/p' |
        grep -o "\"${2-packets}\":[0-9]*" | grep -o '[0-9]*$' || echo 0
}

# Which of the two carries the echoes?
busier_gate() {
    lab_wan count reset >/dev/null
    sleep 1
    if [ "$(packets_to g)" -gt "$(packets_to h)" ]; then
        busy=g
    else
        busy=h
    fi
}

saw_it_die() { # NAME
    grep -q 'gatelink: down.*does not answer any more' "$lab_dir/$1.log"
}

# It closes nothing and answers nothing: the network of the gate that carries
# them swallows every packet.  Echoes go on over the other one; the dead link is
# seen within 4 s of what was lost on it, 1.2 s later when UDP carried that.
a_gate_that_falls_silent_is_left() { # KIND of both NATs, udp|tls
    begin "public h; side a $1; side b $1" h
    common+=(--log debug)
    serve b
    dial a "$key" 24
    local dialler=$lab_pid since
    expect "they have two channels" lab_wait 15 channels 2
    sleep 2 # UDP is tried
    busier_gate
    case $2 in
    udp) expect "UDP carries them" [ "$(packets_to $busy udp)" -gt 3 ] ;;
    tls) expect "TLS carries them" [ "$(packets_to $busy udp)" = 0 ] ;;
    esac
    lab_wan cut $busy '*'
    since=$(date +%s%N)
    expect "a sees that it is dead" lab_wait 7 saw_it_die a
    echo "silent gate, $2: dead for a after $((($(date +%s%N) - since) / 1000000)) ms"
    expect "b sees that it is dead" lab_wait 5 saw_it_die b
    sleep 3
    lab_wan restore
    expect "they have two again" lab_wait 12 channels 3
    wait "$dialler" || :
    expect "it goes on, and not one echo was lost" all_echoes a 60
    expect "within five seconds" [ "$(longest a)" -lt 5000 ]
    echo "silent gate, $2: $(longest a) ms at the longest"
    lab_end
}

# All that leaves the network of a is TCP to port 443 of a proxy.
a_proxy_is_way_enough() {
    begin "public x; side a tcp443only; side b symmetric"
    lab_in a-nat nft insert rule ip lab through \
        iifname lan0 ip daddr != "${lab_ip[x]}" drop
    expect "without the proxy there is no way" lab_in a bash -c \
        "! timeout 2 bash -c 'exec 3<>/dev/tcp/${lab_ip[g]}/443' 2>/dev/null"
    serve b
    lab_spawn x "$lab_dir/proxy.log" "$(dirname "$0")/connectproxy.py" \
        "${lab_ip[x]}" 443 me:secret
    sleep 0.5
    export https_proxy="http://me:secret@${lab_ip[x]}:443"
    dial a "$key" 3
    wait "$lab_pid" || :
    expect "through the proxy: echoes" all_echoes a 10
    expect "a gate carries it" path_is a gate-tls
    expect "the proxy was asked for the gate and for nothing else" \
        [ "$(sort -u "$lab_dir/proxy.log")" = "${lab_ip[g]}:443 200" ]
    lab_end
}

# The link goes through the proxy, which is the only way for TCP; the packets
# need not.
beside_a_proxy_udp_is_tried() {
    begin "public x; side a symmetric; side b symmetric"
    lab_in a-nat nft insert rule ip lab through \
        iifname lan0 ip daddr != "${lab_ip[x]}" meta l4proto tcp drop
    serve b
    lab_spawn x "$lab_dir/proxy.log" "$(dirname "$0")/connectproxy.py" \
        "${lab_ip[x]}" 8080 me:secret
    sleep 0.5
    export https_proxy="http://me:secret@${lab_ip[x]}:8080"
    dial a "$key" 6
    local dialler=$lab_pid
    expect "through the proxy: echoes" lab_wait 15 grep -q '"n":5,' \
        "$lab_dir/a.log"
    expect "the link goes through the proxy" [ -s "$lab_dir/proxy.log" ]
    lab_wan count reset >/dev/null
    sleep 1
    expect "UDP carries them" [ "$(packets_to g udp)" -gt 3 ]
    wait "$dialler" || :
    expect "not one echo was lost" all_echoes a 10
    lab_end
}

(hopeless_pairs_are_connected)
(a_direct_path_outlives_the_gate_and_the_other_way_round)
(a_way_that_opens_later_is_found)
(who_has_only_the_gate_comes_back_with_it)
(a_gate_without_the_other_is_left_in_peace)
(one_of_two_gates_may_die)
(a_gate_that_falls_silent_is_left symmetric udp)
(a_gate_that_falls_silent_is_left tcp443only tls)
(a_proxy_is_way_enough)
(beside_a_proxy_udp_is_tried)
