#!/usr/bin/env python3
"""A disk that is full, in a mount namespace of its own: it is said at once,
editing goes on in memory, and when there is room again everything is written
and the warning withdrawn.  And two agents of one user in one session."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import mounts  # noqa: E402
from agent import Agent  # noqa: E402


def fill(path):
    with open(path, "wb", buffering=0) as f:
        try:
            while True:
                f.write(b"x" * 4096)
        except OSError:
            pass


def full_disk(home):
    agent = Agent(home)
    agent.hello()
    lines = ["first"]
    key = agent.share(list(lines))
    erev = 0

    def type_line(text):
        nonlocal erev
        agent.change(len(lines) + 1, 0, [text], len(lines))
        lines.append(text)
        erev += 1

    type_line("there is room")
    agent.until(lambda: agent.kept == erev, 5, "kept")
    fill(os.path.join(home, "filler"))
    kept = agent.kept
    began = time.monotonic()
    while not agent.notices():
        assert time.monotonic() - began < 10, "nothing is said of the full disk"
        type_line("x" * 1000)
        agent.pump(0.02)
    notice = agent.notices()[0]
    assert notice["level"] == "error" and "disk is full" in notice["text"] and \
        "memory only" in notice["text"], notice
    print(f"said after {time.monotonic() - began:.2f} s: {notice['text']}")
    kept = max(kept, agent.kept)
    for i in range(50):
        type_line(f"in memory {i}")
    agent.verify(lines, erev)
    end = time.monotonic() + 3
    while time.monotonic() < end:
        agent.pump(0.1)
    assert agent.kept == kept, "something is said to be kept on a full disk"
    assert len(agent.notices()) == 1, "it is said more than once"
    assert not [m for m, _ in agent.said if m == "resync"], "the text differs"

    os.remove(os.path.join(home, "filler"))
    began = time.monotonic()
    agent.until(lambda: agent.kept == erev, 5, "kept, with room again")
    agent.until(lambda: len(agent.notices()) == 2, 5, "the warning withdrawn")
    notice = agent.notices()[1]
    assert notice["level"] == "info" and "again" in notice["text"], notice
    print(f"kept {time.monotonic() - began:.2f} s after there was room: "
          f"{notice['text']}")
    agent.kill()
    return key, lines


def open_on_full_disk(home, key, lines):
    """After kill -9, and after a clean end: the text is there."""
    for _ in range(2):
        fill(os.path.join(home, "filler"))
        agent = Agent(home)
        agent.hello()
        assert agent.join_stored(key) == lines, "the text is another one"
        agent.change(len(lines) + 1, 0, ["y" * 9000], len(lines))
        lines.append("y" * 9000)
        agent.until(agent.notices, 5, "a word about the full disk")
        assert "disk is full" in agent.notices()[0]["text"], agent.notices()
        os.remove(os.path.join(home, "filler"))
        agent.until(lambda: agent.kept == 1, 5, "kept, with room again")
        agent.leave()
    agent = Agent(home)
    agent.hello()
    assert agent.join_stored(key) == lines, "the text is another one"
    return agent


def two_agents(first, key, home, lines):
    """The second is told, and can take part beside the first."""
    second = Agent(home)
    stored = second.hello()["sessions"]
    assert [s["key"] for s in stored] == [key], stored
    error = second.call("resume", key=key, lines=lines, eol=True)["error"]
    assert error["code"] == -32005, error
    assert "another editor of yours has this session open" in \
        error["message"] + error["data"]["hint"], error
    second.result("join", key=key)
    second.until(second.notices, 5, "a word about the first")
    assert "another editor of yours" in second.notices()[0]["text"]
    second.leave()
    first.leave()


def main():
    mounts.enter()
    with mounts.mounted("-t", "tmpfs", "-o", "size=3m", "tmpfs") as home:
        key, lines = full_disk(home)
        agent = open_on_full_disk(home, key, lines)
        two_agents(agent, key, home, lines)
    print("a full disk costs nothing")


main()
