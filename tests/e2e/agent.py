"""A real agent, spoken to as an editor does (docs/editor.md), for the tests of
this folder.  One JSON object a line; no other network than loopback is asked
for, nobody is looked for."""
import hashlib
import json
import os
import select
import subprocess
import time


def binary():
    return os.path.join(os.environ["COVIM_BUILD"], "cli", "covim")


class Agent:
    """One process.  Its notifications are in `said`, oldest first; `kept` is
    the newest `erev` that it promised for the document."""

    def __init__(self, home, log=None):
        env = dict(os.environ, XDG_DATA_HOME=home, COVIM_BOOTSTRAP="none")
        self.process = subprocess.Popen(
            [binary(), "agent"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=log or subprocess.DEVNULL, env=env)
        os.set_blocking(self.process.stdout.fileno(), False)
        os.set_blocking(self.process.stdin.fileno(), False)
        self.buffer = b""
        self.out = b""
        self.answers = {}
        self.said = []
        self.kept = 0
        self.calls = 0
        self.doc = self.epoch = None

    # ---- messages ----

    def send(self, message):
        self.out += json.dumps(message, ensure_ascii=False).encode() + b"\n"
        self.pump(0)

    def notify(self, method, **params):
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def take(self, line):
        message = json.loads(line)
        if "method" not in message:
            self.answers[message["id"]] = message
            return
        params = message["params"]
        if message["method"] == "kept" and params["epoch"] == self.epoch:
            assert params["erev"] >= self.kept, "kept goes back"
            self.kept = params["erev"]
        self.said.append((message["method"], params))

    def pump(self, seconds):
        """Write and read what is possible; False once the agent is gone."""
        source, sink = self.process.stdout.fileno(), self.process.stdin.fileno()
        ready, free, _ = select.select([source], [sink] if self.out else [], [],
                                       seconds)
        if free:
            try:
                self.out = self.out[os.write(sink, self.out):]
            except BrokenPipeError:
                self.out = b""
        if not ready:
            return True
        data = os.read(source, 1 << 20)
        self.buffer += data
        *lines, self.buffer = self.buffer.split(b"\n")
        for line in lines:
            self.take(line)
        return bool(data)

    def until(self, condition, seconds, what):
        end = time.monotonic() + seconds
        while not condition():
            left = end - time.monotonic()
            assert left > 0, f"not within {seconds} s: {what}"
            assert self.pump(min(left, 0.05)), f"the agent ended: {what}"

    def call(self, method, **params):
        """The answer, with `result` or `error`."""
        self.calls += 1
        number = self.calls
        self.send({"jsonrpc": "2.0", "id": number, "method": method,
                   "params": params})
        self.until(lambda: number in self.answers, 20, f"answer to {method}")
        return self.answers.pop(number)

    def result(self, method, **params):
        answer = self.call(method, **params)
        assert "result" in answer, f"{method}: {answer}"
        return answer["result"]

    def notices(self):
        return [p for method, p in self.said if method == "notice"]

    # ---- what an editor does ----

    def hello(self):
        return self.result("hello", client="test", protocol=1, name="test",
                           bootstrap=["none"], lan=False)

    def share(self, lines):
        r = self.result("share", path="a.txt", lines=lines, eol=True,
                        admission="ask")
        self.doc, self.epoch = r["doc"], r["epoch"]
        return r["key"]

    def join_stored(self, key):
        """The text that is stored."""
        self.result("join", key=key)
        found = []

        def look():
            found.extend(p for m, p in self.said if m == "doc")
            return found

        self.until(look, 20, "the stored text")
        self.doc, self.epoch = found[0]["doc"], found[0]["epoch"]
        return found[0]["lines"]

    def change(self, lo, old, new, total):
        """Lines lo … lo + old - 1 (from 1) of `total` become `new`."""
        self.notify("change", doc=self.doc, epoch=self.epoch, rev=0, lo=lo,
                    tail=total - (lo - 1) - old, lines=new)

    def verify(self, lines, erev):
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        self.notify("verify", doc=self.doc, epoch=self.epoch, rev=0, erev=erev,
                    count=len(lines), sha256=digest)

    # ---- its end ----

    def kill(self):
        """kill -9; what it had said until then is read."""
        self.process.kill()
        while self.pump(5):
            pass
        self.close()

    def leave(self):
        self.process.stdin.close()
        self.process.wait(20)
        self.close()

    def close(self):
        self.process.wait(20)
        self.process.stdout.close()
        if not self.process.stdin.closed:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass
