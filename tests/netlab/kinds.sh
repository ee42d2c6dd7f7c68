#!/usr/bin/env bash
# Each kind of NAT is what README.md says, as seen from a host behind it by the
# tests of RFC 5780, for UDP and for TCP; and no kind passes for another.
#
#     p (two addresses, the prober's server) ── ten routers ── NAT ── host
set -euo pipefail
# shellcheck source=tests/netlab/lab.sh
. "$(dirname "$0")/lab.sh"

probe=$COVIM_BUILD/tests/natprobe
failed=0

fail() {
    echo "FAIL: $*"
    failed=1
}

# What a host is to find: mapping/filtering/ports/strays.
want='
none       none           -              eim/eif/not/answered         eim/eif/not/answered
full       fullcone       -              eim/eif/preserved/silent     eim/eif/preserved/silent
addr       restricted     -              eim/adf/preserved/silent     eim/adf/preserved/silent
port       portrestricted -              eim/apdf/preserved/silent    eim/apdf/preserved/silent
sym        symmetric      -              apdm/apdf/random/silent      apdm/apdf/random/silent
seq        symmetric-seq  -              apdm/apdf/sequential/silent  apdm/apdf/sequential/silent
cgn        cgn            -              eim/apdf/preserved/silent    eim/apdf/preserved/silent
noudp      udpblocked     -              blocked                      eim/apdf/preserved/silent
web        tcp443only     -              blocked                      443only
fullacc    fullcone       strays=accept  eim/eif/preserved/accept     eim/eif/preserved/reject
addracc    restricted     strays=accept  eim/adf/preserved/accept     eim/adf/preserved/reject
portacc    portrestricted strays=accept  eim/apdf/preserved/accept    eim/apdf/preserved/reject
cgnacc     cgn            strays=accept  eim/apdf/preserved/accept    eim/apdf/preserved/reject
symacc     symmetric      strays=accept  apdm/apdf/random/refused     apdm/apdf/random/refused
portrej    portrestricted strays=reject  eim/apdf/preserved/reject    eim/apdf/preserved/reject
symrej     symmetric      strays=reject  apdm/apdf/random/refused     apdm/apdf/random/refused
'

lab_begin
lab_net 'public p addresses=2'
lab_spawn p "$lab_dir/serve.log" "$probe" serve "${lab_ip[p]}" "${lab_ip[p]%.1}.2"
lab_wait 5 grep -q serving "$lab_dir/serve.log"
while read -r name kind option _; do
    [ -n "$name" ] || continue
    lab_net "side $name $kind ${option#-}"
done <<<"$want"

# find HOST: in the background; to files.
find_kind() {
    lab_in "$1" "$probe" find "$(lab_own "$1")" "${lab_ip[p]}" \
        "${lab_ip[p]%.1}.2" >"$lab_dir/$1.found" 2>&1
}

# find_all: what everybody finds, at once.
find_all() {
    local name finders=()
    while read -r name _; do
        [ -n "$name" ] || continue
        find_kind "$name" &
        finders+=($!)
    done <<<"$want"
    wait "${finders[@]}" || fail "a prober"
}

find_all
while read -r name kind option udp tcp; do
    [ -n "$name" ] || continue
    found=$(tr '\n' ' ' <"$lab_dir/$name.found")
    echo "$kind ${option#-}: $found"
    [ "$found" = "udp $udp tcp $tcp " ] ||
        fail "$kind ${option#-}: not udp $udp tcp $tcp"
done <<<"$want"

# The two NATs of a carrier's customer show in the routers on the way.
routers() {
    lab_in "$1" "$probe" hops "$(lab_own "$1")" "${lab_ip[p]}" |
        sed 's/:0$//' | tr '\n' ' '
}
[[ "$(routers port)" =~ ^192\.168\.[0-9]+\.1\ 20\.255\.255\.1\  ]] ||
    fail "one NAT: $(routers port)"
[[ "$(routers cgn)" =~ ^192\.168\.[0-9]+\.1\ 100\.64\.[0-9]+\.1\ 20\.255 ]] ||
    fail "two NATs: $(routers cgn)"

# A NAT that is not what it is called is caught: each is given the rules of its
# neighbour.
next=(fullcone restricted portrestricted symmetric symmetric-seq udpblocked
    tcp443only fullcone)
neighbour() {
    local i
    for i in 0 1 2 3 4 5 6; do
        [ "${next[$i]}" != "$1" ] || echo "${next[$((i + 1))]}"
    done
}
while read -r name kind _; do
    [ -n "$name" ] && [ "$kind" != none ] || continue
    # shellcheck disable=SC2086
    set -- ${lab_nat_of[$name-nat]}
    lab_nat "$1" "$2" "$3" "$(neighbour "$4")" "${@:5}"
    lab_in "$name-nat" conntrack -F 2>/dev/null
done <<<"$want"
find_all
while read -r name kind option udp tcp; do
    [ -n "$name" ] && [ "$kind" != none ] || continue
    found=$(tr '\n' ' ' <"$lab_dir/$name.found")
    [ "$found" != "udp $udp tcp $tcp " ] ||
        fail "$kind ${option#-} and its neighbour look the same"
done <<<"$want"

[ $failed = 0 ] || exit 1
