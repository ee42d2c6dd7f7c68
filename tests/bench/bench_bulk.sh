#!/usr/bin/env bash
# Bulk over a direct UDP path on loopback, beside what ngtcp2 reaches by itself
# in the same run with the same packet size.  See --help.
set -euo pipefail

if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
    cat <<'TEXT'
Usage: scripts/bench.sh bulk [RUNS [MIB]]

RUNS (5) times, in turn, MIB (512) over one stream between two processes: the
whole node (checks, path set, QUIC) and the library with a bare socket.  Medians:

  covim, ngtcp2   mib_per_s, cpu_s_per_gib_both (of both processes)
  share           mib_per_s of covim by that of ngtcp2; the goal is 0.85
  cpu_ratio       cpu of covim by that of ngtcp2; the goal is 1.15

The last two are medians over pairs of neighbouring runs, which the load of the
machine touches alike.
TEXT
    exit 0
fi
runs=${1:-5} mib=${2:-512}
lines=$(mktemp)
trap 'rm -f "$lines"' EXIT
for ((i = 0; i < runs; i++)); do
    timeout 120 "$COVIM_BUILD/tests/bench_net" bulk "$mib" 2>/dev/null |
        grep '"case":"bulk"' >>"$lines"
    timeout 120 "$COVIM_BUILD/tests/ngtcp2_bulk" "$mib" >>"$lines"
done
python3 - "$lines" <<'PY'
import json, statistics, sys
values = {}
for line in open(sys.argv[1]):
    r = json.loads(line)
    who = "covim" if r["bench"] == "net" else "ngtcp2"
    values.setdefault((who, r["metric"]), []).append(r["value"])

def report(case, metric, value):
    print(json.dumps({"bench": "bulk", "case": case, "metric": metric,
                      "value": round(value, 3)}))
    print(f"{case:8} {metric:20} {value:10.3f}", file=sys.stderr)

for (who, metric), v in sorted(values.items()):
    if metric != "sender_cpu_s_per_gib":
        report(who, metric, statistics.median(v))

def ratio(metric):
    pairs = zip(values["covim", metric], values["ngtcp2", metric])
    return statistics.median(ours / theirs for ours, theirs in pairs)

report("both", "share", ratio("mib_per_s"))
report("both", "cpu_ratio", ratio("cpu_s_per_gib_both"))
PY
