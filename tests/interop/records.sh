#!/usr/bin/env bash
# The records of docs/protocol.md, read by a second implementation.
set -euo pipefail
cd "$(dirname "$0")"

command -v python3 >/dev/null || {
    echo "SKIP: python3 is not installed"
    exit 77
}
exec python3 records.py ../../docs/protocol.md
