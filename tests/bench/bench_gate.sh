#!/usr/bin/env bash
# The gate beside coturn, and over UDP beside a forwarder that does nothing but
# recvmsg and sendmsg (metrics …_bare), which no relay on this machine can go
# below: see tests/bench/gateload.c.
#
#     scripts/bench.sh gate [quick] [udp|tls|websocket|idle|flood|regain|soak]
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$COVIM_TOP/scripts/lib.sh"

install_packages coturn >&2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"$COVIM_BUILD/tests/gateload" "$COVIM_BUILD/gate/covim-gate" \
    "$(command -v turnserver)" "$dir" "$@"
