"""The figures of bench_natmatrix.sh out of the lines of its runs.

natmatrix.py row FILE   a line for people on the last case
natmatrix.py all FILE   all figures as JSON lines, and a table on stderr
"""
import json
import math
import sys


def quantile(values, share):
    """The smallest value that `share` of all do not exceed."""
    values = sorted(values)
    return values[max(0, math.ceil(share * len(values)) - 1)]


def median(values):
    values = sorted(values)
    middle = len(values) // 2
    if len(values) % 2:
        return values[middle]
    return (values[middle - 1] + values[middle]) / 2


def by_token(run):
    """Times count from when the second token was handed over."""
    if run.get("added") is None:
        return run
    late = run["added"] - run["dialled"]
    dial = run["dial"]
    for key in ("echo_ms", "direct_ms"):
        if key in dial:
            dial[key] = max(0, dial[key] - late)
    if run.get("told") is not None:
        dial["failed_ms"] = run["told"] - run["added"]
    else:
        dial.pop("failed_ms", None)
    dial.pop("answer_ms", None)
    return run


def figures(runs):
    """Metric -> value of the runs of one case."""
    good = [r for r in runs if "echo_ms" in r["dial"]]
    direct = [r for r in good
              if r["dial"]["path"] in ("lan", "ipv4", "ipv6", "tcp")]
    told = [r["dial"]["failed_ms"] - r["dial"].get("answer_ms", 0)
            for r in runs
            if "failed_ms" in r["dial"] and "echo_ms" not in r["dial"]]
    out = {"runs": len(runs),
           "direct_share": round(len(direct) / len(runs), 3),
           "connected_share": round(len(good) / len(runs), 3)}
    if good:
        echo = [r["dial"]["echo_ms"] for r in good]
        out["echo_ms"] = round(median(echo), 1)
        out["echo_p95_ms"] = round(quantile(echo, 0.95), 1)
        out["packets"] = median([r["dial"]["packets"] + r["server_packets"]
                                 for r in good])
    # Which of the two ends proves a path first is chance: over a gate the
    # echo may be back before.
    proved = [r["dial"]["direct_ms"] for r in good
              if "direct_ms" in r["dial"]]
    if proved:
        out["direct_ms"] = round(median(proved), 1)
    if direct:
        out["paths"] = ",".join(sorted({r["dial"]["path"] for r in direct}))
    if told:
        out["told_ms"] = round(median(told), 1)
    return out


def row(case, f):
    def cell(key, width=8):
        return str(f.get(key, "-")).rjust(width)
    return (case.ljust(36) + cell("runs", 5) + cell("direct_share") +
            cell("connected_share") + cell("echo_ms", 9) +
            cell("echo_p95_ms", 9) + cell("direct_ms", 9) +
            cell("packets") + cell("told_ms", 9) + "  " + f.get("paths", ""))


HEAD = ("case".ljust(36) + " runs  direct    conn  echo_ms   p95_ms" +
        "   direct packets     told  paths")


def main():
    what, path = sys.argv[1:]
    cases = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            run = by_token(json.loads(line))
            cases.setdefault(run["case"], []).append(run)
    if not cases:
        return
    if what == "row":
        case = list(cases)[-1]
        print(row(case, figures(cases[case])))
        return
    print(HEAD, file=sys.stderr)
    for case, runs in cases.items():
        f = figures(runs)
        print(row(case, f), file=sys.stderr)
        for metric, value in f.items():
            if metric not in ("runs", "paths"):
                print(json.dumps({"bench": "natmatrix", "case": case,
                                  "metric": metric, "value": value},
                                 ensure_ascii=False))


main()
