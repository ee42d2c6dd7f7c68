#!/usr/bin/env python3
"""A file system that turns read-only: under a running agent, as a kernel does
that met an error on the disk, and before one starts.  It is said, nothing more
is called kept, editing goes on in memory; and what was kept is there when the
file system can be written again."""
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import mounts  # noqa: E402
from agent import Agent  # noqa: E402


def remount(home, how):
    subprocess.run(["mount", "-o", f"remount,{how}", home], check=True)


def type_line(agent, lines, text):
    agent.change(len(lines) + 1, 0, [text], len(lines))
    lines.append(text)


def turns_read_only(home):
    """The key, the text that was kept, and what was typed in vain."""
    agent = Agent(home)
    agent.hello()
    lines = ["first"]
    key = agent.share(list(lines))
    for i in range(20):
        type_line(agent, lines, f"kept {i}")
    agent.until(lambda: agent.kept == 20, 5, "kept")
    stored = list(lines)

    remount(home, "abort")
    began = time.monotonic()
    type_line(agent, lines, "this one cannot be written")
    agent.until(agent.notices, 5, "a word about the file system")
    notice = agent.notices()[0]
    assert notice["level"] == "error" and "memory only" in notice["text"] and \
        "Read-only" in notice["text"], notice
    print(f"said after {time.monotonic() - began:.2f} s: {notice['text']}")
    for i in range(50):
        type_line(agent, lines, f"in memory {i}")
    agent.verify(lines, len(lines) - 1)
    end = time.monotonic() + 3
    while time.monotonic() < end:
        agent.pump(0.1)
    assert agent.kept == 20, "something is said to be kept in vain"
    assert len(agent.notices()) == 1, "it is said more than once"
    assert not [m for m, _ in agent.said if m == "resync"], "the text differs"
    agent.kill()
    return key, stored


def comes_back(home, key, stored):
    agent = Agent(home)
    agent.hello()
    assert agent.join_stored(key) == stored, "what was kept is not there"
    assert not agent.notices(), agent.notices()
    type_line(agent, stored, "again")
    agent.until(lambda: agent.kept == 1, 5, "kept")
    agent.leave()


def is_read_only(home, key, stored):
    """A clean end, and a start where nothing can be written: refused, with
    the reason; nothing is touched."""
    remount(home, "ro")
    for method, parameters in (
            ("resume", {"key": key, "lines": stored, "eol": True}),
            ("join", {"key": key}),
            ("share", {"path": "b.txt", "lines": ["b"], "eol": True,
                       "admission": "ask"})):
        agent = Agent(home)
        agent.hello()
        error = agent.call(method, **parameters)["error"]
        said = error["message"] + " " + error.get("data", {}).get("hint", "")
        print(f"{method}: {said}")
        assert "Read-only" in said, error
        agent.leave()
    remount(home, "rw")


def main():
    mounts.enter()
    fd, image = tempfile.mkstemp(prefix="covim-disk-")
    try:
        os.truncate(fd, 16 << 20)
        try:
            subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        except (OSError, subprocess.CalledProcessError) as e:
            mounts.skip(f"no ext4 can be made: {e}")
        with mounts.mounted("-o", "loop", image) as home:
            key, stored = turns_read_only(home)
        with mounts.mounted("-o", "loop", image) as home:
            comes_back(home, key, stored)
            is_read_only(home, key, stored)
            comes_back(home, key, stored)
    finally:
        os.close(fd)
        os.remove(image)
    print("a file system that turns read-only costs nothing that was kept")


main()
