#!/usr/bin/env bash
# `covim doctor` says what is there: every kind of NAT by its name, blocked UDP,
# a captive portal, no network; which gates let us in; and how far a key leads.
set -euo pipefail
# shellcheck source=tests/netlab/lab.sh
. "$(dirname "$0")/lab.sh"
command -v dhtnode >/dev/null || lab_skip "no dhtnode"

covim=$COVIM_BUILD/cli/covim
lab_begin delay=10
lab_net 'public p addresses=2
         public d
         public g
         side none none
         side full fullcone
         side restr restricted
         side port portrestricted
         side acc portrestricted strays=accept
         side sym symmetric
         side seq symmetric-seq
         side blocked udpblocked
         router pr udpblocked
         host portal pr'
two=${lab_ip[p]%.1}.2
one=${lab_ip[p]}
# Each also answers on port 3479.
lab_spawn p "$lab_dir/stun.log" "$covim" stun --listen "$one:3478" \
    --listen "$two:3478"
mkfifo "$lab_dir/never"
exec 9<>"$lab_dir/never" # a dhtnode ends when its input does
ip netns exec "$lab_id-d" dhtnode -p 4222 <&9 >"$lab_dir/dht.log" 2>&1 &
lab_pids+=($!)
gate=$COVIM_BUILD/gate/covim-gate
mkdir -m 700 "$lab_dir/gate" "$lab_dir/other"
gate_of() { # DIR: the name of a gate with the key that is there
    lab_in g "$gate" --key "$lab_dir/$1/key" --name "${lab_ip[g]}" --print-name
}
gate_name=$(gate_of gate) other_name=$(gate_of other)
lab_spawn g "$lab_dir/gate.log" "$gate" --key "$lab_dir/gate/key" \
    --listen "${lab_ip[g]}:443" --metrics off
world=(--no-lan --bootstrap "${lab_ip[d]}:4222"
    --stun "$one:3478,$two:3479")

# doctor HOST [OPTION…]: its report to $lab_dir/HOST; the exit code in $code.
doctor() {
    local host=$1
    shift
    [ -d "$lab_dir/$host-data" ] || mkdir -m 700 "$lab_dir/$host-data"
    code=0
    lab_in "$host" timeout 60 "$covim" doctor "${world[@]}" \
        --data-dir "$lab_dir/$host-data" "$@" >"$lab_dir/$host" \
        2>"$lab_dir/$host.err" || code=$?
}

fail() {
    echo "FAILED: $1: $2"
    cat "$lab_dir/$1" "$lab_dir/$1.err"
    exit 1
}

says() { # HOST STATUS NAME WORDS
    grep -Eq "^$2 +$3 .*$4" "$lab_dir/$1" || fail "$1" "no \"$2 $3 … $4\""
}

lab_wait 10 lab_in none "$covim" doctor "${world[@]}" \
    --data-dir "$lab_dir" || :
for host in none full restr port acc sym seq; do
    doctor "$host"
    [ $code = 0 ] || fail "$host" "ended with $code"
    says "$host" ok udp '2 of 2 STUN servers answer'
    says "$host" ok tcp 'connected to 2 of 2'
    says "$host" ok dht 'a test value came back'
    says "$host" ok version "covim [0-9]"
    # Fit for a bug report.
    ! grep -Eq '20\.0\.|192\.168\.' "$lab_dir/$host" || fail "$host" "an address"
done
says none ok nat 'none: our own address is public'
says full ok nat 'one port for all .*full cone'
says restr ok nat 'one port for all .*address-restricted'
says port ok nat 'one port for all .*port-restricted.*strays are dropped'
says acc ok nat 'one port for all .*strays leave a trace'
says sym note nat 'at random'
# Counted ports look random when much else is begun in between.
says seq note nat 'symmetric, sequential|at random'

doctor sym --addresses --json
python3 - "$lab_dir/sym" "${lab_ip[sym]}" <<'PY' || fail sym "not that JSON"
import json, sys
report = json.load(open(sys.argv[1]))
by_name = {f["name"]: f for f in report["findings"]}
assert report["worst"] == "note", report["worst"]
assert by_name["nat"]["status"] == "note" and by_name["nat"]["means"]
assert sys.argv[2] in by_name["outside"]["seen"], by_name["outside"]
assert "192.168." in by_name["interfaces"]["seen"]
PY

# A gate: over UDP, over TCP alone, with a token that we lack, and somebody
# else in its place.
doctor full --gate "$gate_name"
says full ok gate 'lets us in, by TLS, and answers in [0-9]+ ms; UDP port 443 answers in [0-9]+ ms'
! grep -q '20\.0\.' "$lab_dir/full" || fail full "an address"
doctor blocked --gate "$gate_name"
says blocked note gate 'lets us in, by TLS, .*UDP port 443 does not answer'
doctor restr --gate "$other_name"
[ $code = 1 ] || fail restr "ended with $code"
says restr problem gate 'has another key'
lab_spawn g "$lab_dir/closed.log" "$gate" --key "$lab_dir/other/key" \
    --listen "${lab_ip[g]}:8443" --metrics off --policy token \
    --token 'sesame sesame sesame'
doctor restr --gate "${other_name%@*}@${lab_ip[g]}:8443"
says restr problem gate 'gate 1 of 1: '
doctor restr --gate "$gate_name,${other_name%@*}@${lab_ip[g]}:9"
says restr ok gate 'gate 1 of 2 lets us in'
says restr problem gate 'gate 2 of 2: '

doctor blocked
[ $code = 1 ] || fail blocked "ended with $code"
says blocked problem udp 'none of 2 STUN servers answers'
says blocked ok tcp 'connected to'
says blocked problem dht 'disconnected|connecting'
! grep -q portal "$lab_dir/blocked" || fail blocked "a portal is seen"

# A network that answers every web page itself, and lets nothing out.
lab_in pr nft -f - <<'NFT'
table ip portal {
    chain in {
        type nat hook prerouting priority dstnat
        iifname "lan0" tcp dport 80 redirect to :8080
    }
    chain through {
        type filter hook forward priority -10
        drop
    }
}
NFT
lab_spawn pr "$lab_dir/portal.log" python3 -c '
import http.server
class Portal(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(302)
        self.send_header("Location", "http://login.hotel.example/welcome")
        self.end_headers()
http.server.HTTPServer(("", 8080), Portal).serve_forever()'
lab_wait 5 lab_in portal bash -c "exec 3<>/dev/tcp/$two/80"
doctor portal
[ $code = 1 ] || fail portal "ended with $code"
says portal problem portal 'a captive portal'
says portal problem udp 'none of 2'
! grep -q hotel "$lab_dir/portal" || fail portal "its name is shown"

lab_down port
doctor port
[ $code = 1 ] || fail port "ended with $code"
says port problem interfaces 'no network'
lab_up port

# A key: every stage with its time; then one that nobody shares.
mkdir -m 700 "$lab_dir/serve-data"
lab_spawn full "$lab_dir/serve" "$covim" share "${world[@]}" \
    --data-dir "$lab_dir/serve-data" "$0"
lab_wait 10 grep -q ^covim1 "$lab_dir/serve"
key=$(grep ^covim1 "$lab_dir/serve")
doctor restr "$key"
[ $code = 0 ] || fail restr "ended with $code"
says restr ok pointer 'found after [0-9]+ ms'
says restr ok knock 'sent after [0-9]+ ms'
says restr ok path 'proved after [0-9]+ ms'
says restr ok handshake 'their key is proved after [0-9]+ ms'
! grep -q covim1 "$lab_dir/restr" || fail restr "the key is shown"
# Nobody was asked anything by that.
! grep -q 'asks to be let in' "$lab_dir/serve" || fail serve "it asked"
kill "$lab_pid"
wait "$lab_pid" 2>/dev/null || :
doctor restr "covim1nonsense"
[ $code = 1 ] || fail restr "ended with $code"
says restr problem key .
echo "doctor: all as it is"
