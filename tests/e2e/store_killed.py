#!/usr/bin/env python3
"""kill -9 of a real agent at random moments while somebody types.  What it had
said to be kept is there again: the text that comes back is the text after some
change, and not after an earlier one than the last that was kept.

    COVIM_KILLS   how often (200)
    COVIM_SEED    of what is typed and when it is killed
"""
import hashlib
import os
import random
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from agent import Agent  # noqa: E402

KILLS = int(os.environ.get("COVIM_KILLS", "200"))
SEED = int(os.environ.get("COVIM_SEED", time.time_ns() % 1000000))
LINES = 400  # about which the text stays
PASTE = 1500  # lines; so that the record grows and is compacted


def digest(lines):
    return hashlib.sha256("\n".join(lines).encode()).digest()


class Typist:
    """Types into a list of lines and knows the text after each change."""

    def __init__(self, lines, rng):
        self.lines = lines
        self.rng = rng
        self.states = [digest(lines)]
        self.words = 0

    def change(self):
        """(lo, old, new, total) of the next change."""
        rng, lines = self.rng, self.lines
        total, at = len(lines), rng.randrange(len(lines))
        what = rng.random()
        old, new = 1, [f"{lines[at]} {self.words:x}"]
        if what > 0.97:
            old = 0
            new = [rng.randbytes(60).hex() for _ in range(PASTE)]
        elif what > 0.85 or total > 2 * LINES:
            old = min(total - at, PASTE if total > 2 * LINES else 3)
            new = [f"é𝄞 {self.words}"]
        elif what > 0.7:
            new = [lines[at], f"line {self.words}"]
        self.words += 1
        lines[at:at + old] = new
        self.states.append(digest(lines))
        return at + 1, old, new, total


def type_for(agent, typist, seconds):
    """Type until then; how fast changes now and then."""
    end = time.monotonic() + seconds
    pause = 0
    while time.monotonic() < end:
        if typist.rng.random() < 0.05:
            pause = typist.rng.choice([0, 0, 0.001, 0.005, 0.03])
        agent.change(*typist.change())
        agent.pump(pause)


def main():
    rng = random.Random(SEED)
    home = tempfile.mkdtemp(prefix="covim-killed-")
    print(f"seed {SEED}, {KILLS} kills", flush=True)
    key, lines = None, [f"line {i}" for i in range(LINES)]
    promised = typed = unkept = in_setup = 0
    try:
        for _ in range(KILLS):
            agent = Agent(home)
            agent.hello()
            if key is None:
                key = agent.share(lines)
            else:
                back = agent.join_stored(key)
                found = [n for n, state in enumerate(typist.states)
                         if state == digest(back)]
                assert found, "the text that came back was never there"
                assert found[-1] >= kept, \
                    f"kept were {kept} changes, {found[-1]} are there"
                unkept += found[-1] - kept
                lines = back
            assert not agent.notices(), agent.notices()
            typist = Typist(list(lines), rng)
            type_for(agent, typist, rng.choice([0.01, 0.1, 0.4]) * rng.random())
            agent.kill()
            kept = agent.kept
            promised += kept
            typed += len(typist.states) - 1
            in_setup += kept == 0
        files = os.listdir(os.path.join(home, "covim", "sessions"))
        assert not [f for f in files if "damaged" in f], files
    finally:
        shutil.rmtree(home)
    assert promised > KILLS, "too few changes were kept for a test"
    print(f"{KILLS} kills: of {typed} changes {promised} were said to be kept, "
          f"all of them are there; {unkept} more are; "
          f"{in_setup} kills came before the first")


main()
