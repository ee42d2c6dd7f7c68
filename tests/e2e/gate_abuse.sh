#!/usr/bin/env bash
# A real gate under abuse: honest clients are served, memory stays bounded.
# shellcheck source=tests/e2e/gate_kit.sh
. "$(dirname "$0")/gate_kit.sh"

chmod 700 "$dir"
start_gate --rate 500M --burst 500M --waiting 1M --connects-per-source 200 \
    --handshakes 100
says "links 20 udp 20" "$probe" "$name" send 20
before=$(metric resident_bytes)

# Connections that say nothing, or half a request, are few at a time.
"$probe" "$name" hold 300 >"$dir/held" &
holder=$!
sleep 1
[ "$(metric links)" -le 20 ] || fail "silent connections are links"
wait "$holder"
held=$(sed -n 's/^held //p' "$dir/held")
[ "$held" -le 100 ] || fail "$held silent connections were held"
sleep 1
says "links 20 udp 20" "$probe" "$name" send 20
"$probe" "$name" half 300 "$proxied" >"$dir/held"
held=$(sed -n 's/^held //p' "$dir/held")
[ "$held" -le 100 ] || fail "$held half requests were held"
sleep 1

# A reader that does not read costs packets and little memory.
says "pong 5" "$probe" "$name" slow 40
[ "$(metric packets_slow_total)" -gt 1000 ] || fail "nothing was dropped"
says "done" "$probe" "$name" junk
[ "$(metric bad_frames_total)" -gt 0 ] || fail "junk was not noticed"
says "links 20 udp 20" "$probe" "$name" send 20
after=$(metric resident_bytes)
grown=$(((after - before) / 1024))
[ $grown -lt 8192 ] || fail "it grew by $grown KiB"
kill -0 "$pid" || fail "it died"
echo "gate_abuse: served throughout, grown by $grown KiB"
