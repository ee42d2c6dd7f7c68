"""What the lines of "covim echo" say about a connection whose network changed.

roaming.py resumes CASE DIR   time from each event to the next echo
roaming.py storm DIR [MS]     a transfer with many events; more than MS from one
                              to the next, or to the end of the gap that they
                              fall into, are a failure
roaming.py swaps DIR N        the same, between gate and direct path; fewer than
                              N changes are a failure
roaming.py deaths DIR [MS]    echoes while the direct path dies and comes back:
                              what that cost them; more than MS is a failure
roaming.py check DIR MS       resumes, for a test: all within MS, else exit 1
"""
import json
import statistics
import sys
import time

STALL = 0.1   # an echo every 20 ms, RTT 50 ms: longer is a gap
WITHIN = 15.0


def lines(path):
    with open(path, encoding="utf-8", errors="replace") as text:
        for line in text:
            if line.startswith("{"):
                try:
                    yield json.loads(line)
                except ValueError:
                    pass # the end of it was not written


def load(folder):
    """Events and echoes on the machine's monotonic clock, seconds."""
    zero, echoes, marks = 0.0, [], []
    for line in lines(folder + "/dial"):
        if line["event"] == "dial":
            zero = (line["clock_ms"] - line["ms"]) / 1000
        if line["event"] == "echo":
            echoes.append(zero + line["ms"] / 1000)
        marks.append((zero + line["ms"] / 1000, line))
    ahead = time.time() - time.monotonic()
    with open(folder + "/events", encoding="utf-8") as text:
        events = [(float(line.split()[0]) - ahead, line.split()[1])
                  for line in text]
    return events, echoes, marks


def resumes(events, echoes):
    """(name, seconds or None) of each event: the end of the longest gap
    between echoes that it falls into or that begins soon after it."""
    out = []
    for i, (at, name) in enumerate(events):
        end = events[i + 1][0] if i + 1 < len(events) else at + WITHIN
        gaps = [(b - a, b) for a, b in zip(echoes, echoes[1:])
                if b > at and a < at + 0.5]
        longest = max(gaps, default=None)
        if longest is None or (longest[1] > end and end - at > 2):
            out.append((name, None))
        else:
            out.append((name, longest[1] - at if longest[0] > STALL else 0.0))
    return out


def show(case, metric, value):
    print(json.dumps({"bench": "roam", "case": case, "metric": metric,
                      "value": value}))


def closed(marks):
    return [m for _, m in marks if m["event"] == "closed"]


def transfer(case, events, marks, limit=float("inf")):
    """True: every byte came back, and of no gap more than `limit` seconds
    passed after an event without another one."""
    result = [m for _, m in marks if m["event"] == "result"]
    ok = bool(result) and result[0]["ok"] and not closed(marks)
    beats = [at for at, m in marks if m["event"] == "progress"
             and m.get("new", 0) > 0]
    gaps = list(zip(beats, beats[1:]))
    # Events fall into the gaps of others: how long did nothing change, and
    # nothing come?
    still = []
    for a, b in gaps:
        points = [at for at, _ in events if a - STALL < at < b] + [b]
        still += [y - x for x, y in zip(points, points[1:])]
    show(case, "ok", int(ok))
    show(case, "events", len(events))
    show(case, "seconds", round(beats[-1] - beats[0], 1) if beats else 0)
    for long in 1, 2, 10:
        show(case, f"gaps_over_{long}_s", sum(b - a > long for a, b in gaps))
    show(case, "longest_gap_ms",
         round(1000 * max((b - a for a, b in gaps), default=0)))
    show(case, "resume_max_ms", round(1000 * max(still, default=0)))
    if result:
        show(case, "bytes", result[0].get("bytes", 0))
    return ok and max(still, default=0) <= limit


def deaths(events, marks):
    """What each cut and each return cost the echoes: the worst round trip until
    the next event, less what is usual on the path that they had before."""
    echoes = [(at - m["rtt_ms"] / 1000, at, m["rtt_ms"]) for at, m in marks
              if m["event"] == "echo"]
    moves = [at for at, m in marks if m["event"] == "switched"]
    cost, usual = {"cut": [], "restore": []}, {"cut": [], "restore": []}
    spans = list(zip(events, events[1:] + [(float("inf"), "end")]))
    for (at, name), (end, _) in spans:
        settled = min((m for m in moves if m > at), default=end) + 0.2
        usual[name] += [rtt for sent, came, rtt in echoes
                        if sent > settled and came < end]
    direct = statistics.median(usual["restore"])
    gate = statistics.median(usual["cut"])
    for (at, name), (end, _) in spans:
        worst = max((rtt for sent, came, rtt in echoes
                     if came > at and (sent if name == "cut" else came) < end),
                    default=None)
        if worst is not None:
            cost[name].append(worst - (direct if name == "cut" else gate))
    show("deaths", "direct_rtt_ms", round(direct))
    show("deaths", "gate_rtt_ms", round(gate))
    for case, name in ("deaths", "cut"), ("upgrades", "restore"):
        show(case, "n", len(cost[name]))
        show(case, "delay_ms", round(statistics.median(cost[name])))
        show(case, "delay_max_ms", round(max(cost[name])))
    return max(cost["cut"]), max(cost["restore"])


def main():
    what = sys.argv[1]
    folder = sys.argv[3] if what == "resumes" else sys.argv[2]
    events, echoes, marks = load(folder)
    result = [m for _, m in marks if m["event"] == "result"]
    if what == "storm":
        limit = float(sys.argv[3]) / 1000 if len(sys.argv) > 3 else float("inf")
        sys.exit(0 if transfer("storm", events, marks, limit) else 1)
    if what == "swaps":
        moves = sum(m["event"] == "switched" for _, m in marks)
        ok = transfer("swaps", events, marks)
        show("swaps", "changes", moves)
        sys.exit(0 if ok and moves >= int(sys.argv[3]) else 1)
    if what == "deaths":
        worst = max(deaths(events, marks))
        limit = float(sys.argv[3]) if len(sys.argv) > 3 else 400
        sys.exit(0 if worst <= limit and not closed(marks) else 1)
    by_name = {}
    for name, took in resumes(events, echoes):
        by_name.setdefault(name, []).append(took)
    bad = len(closed(marks)) + (0 if result and result[0]["ok"] else 1)
    for name, took in by_name.items():
        good = [1000 * t for t in took if t is not None]
        if what == "resumes":
            case = sys.argv[2] + ", " + name
            show(case, "back_share", round(len(good) / len(took), 3))
            if good:
                show(case, "resume_ms", round(statistics.median(good)))
                show(case, "resume_max_ms", round(max(good)))
        else:
            print(name, [None if t is None else round(1000 * t) for t in took],
                  "ms")
            bad += sum(t is None or 1000 * t > float(sys.argv[3])
                       for t in took)
    if what == "check":
        sys.exit(1 if bad else 0)


main()
