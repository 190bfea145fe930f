"""Stages of ``.ci/gpu``: commands with a time limit, each reported in a line."""

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import time
from pathlib import Path

#: Bytes of a stage's output that are kept: of its beginning, of its end.
HEAD, TAIL = 20_000, 60_000
#: A stage is not begun with fewer seconds left.
LEAST = 3.0


def adopt():
    """Become the parent of descendants whose own has ended, so that they can be killed (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def descendants(pid):
    """Processes that this one has started, and those that they have."""
    children = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    tree = [pid]
    for parent in tree:
        tree += children.get(parent, ())
    return tree[1:]


def kill(pids):
    """Kill them, as far as they are there and ours."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def cut(path, head=HEAD, tail=TAIL):
    """The text of a file; of a long one, its beginning and its end."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if size <= head + tail:
            return file.read().decode(errors="replace")
        begin = file.read(head)
        file.seek(-tail, os.SEEK_END)
        parts = begin, f"\n[... {size - head - tail} bytes left out ...]\n".encode(), file.read()
    return b"".join(parts).decode(errors="replace")


class Stage:
    """A command that runs as a group of processes; its output goes to a file, then to a log."""

    def __init__(self, hour, name, command, cap, log):
        self.name, self._hour, self._log = name, hour, log
        self._began = time.monotonic()
        self._ends = min(self._began + cap, hour.ends)
        self._path = hour.work / f"stage-{re.sub(r'[^a-z0-9]+', '-', name.lower())}.txt"
        self._process = None
        with self._path.open("wb") as file:
            try:
                self._process = subprocess.Popen(
                    [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=file,
                    stderr=subprocess.STDOUT, start_new_session=True, cwd=hour.tree,
                    env=hour.environment,
                )  # fmt: skip
            except OSError as error:
                file.write(f"cannot start: {error}\n".encode())

    def running(self):
        """Whether there is something to wait for."""
        alive = self._process is not None and self._process.poll() is None
        return alive and time.monotonic() < self._ends

    def end(self, needed=""):
        """Wait for it, up to its cap, kill what is left of it, and tell how it went.

        It has failed, too, if it has not written what is ``needed``, a regular expression.
        """
        outcome = "cannot start"
        if self._process is not None:
            seconds = max(self._ends - time.monotonic(), 0)
            try:
                code = self._process.wait(seconds)
                outcome = "ok" if code == 0 else f"FAILED ({code})"
            except subprocess.TimeoutExpired:
                outcome = "FAILED (out of time)"
            self.kill()
        self.text = cut(self._path)
        if outcome == "ok" and not re.search(needed, self.text):
            outcome = f"FAILED (nothing in it like {needed})"
        lines = [line for line in self.text.splitlines() if line.strip()]
        took = f"{time.monotonic() - self._began:.0f} s"
        self._hour.keep(self._log, f"=== {self.name}: {outcome}, {took}\n{self.text}\n")
        self._path.unlink()
        last = f": {lines[-1].strip()[:300]}" if lines else ""
        self._hour.tell(self.name, outcome, f"{outcome}, {took}{last}")
        return outcome == "ok"

    def kill(self):
        """Kill the whole tree of processes, those outside the group included."""
        strays = descendants(self._process.pid)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        kill(strays)
        with contextlib.suppress(subprocess.TimeoutExpired):  # a driver may hold it for ever
            self._process.wait(10)


class Hour:
    """What all stages share: where things lie, how much time is left, and how it went so far."""

    def __init__(self, out, work, limit):
        self.out, self.work, self.tree = out, work, work / "tree"
        self.environment = dict(os.environ)
        self.began = time.monotonic()
        self.ends = self.began + limit
        self.failed, self.left_out, self.passed = [], [], 0
        for folder in (out, work):
            folder.mkdir(parents=True, exist_ok=True)

    def left(self):
        """Seconds."""
        return self.ends - time.monotonic()

    def say(self, text):
        """A line on the screen and in the summary."""
        line = f"[{time.monotonic() - self.began:4.0f} s] {text}"
        print(line, flush=True)
        self.keep("summary.txt", f"{line}\n")

    def keep(self, name, text):
        """Add to a file that goes back."""
        with (self.out / name).open("a") as file:
            file.write(text)

    def tell(self, name, outcome, text):
        """Count a stage, and say how it went."""
        if outcome == "ok":
            self.passed += 1
        else:
            (self.left_out if outcome == "left out" else self.failed).append(name)
        self.say(f"{name}: {text}")

    def begin(self, name, command, cap, log):
        """Start a stage; None if there is no time for it."""
        if min(cap, self.left()) < LEAST:
            self.tell(name, "left out", "left out: no time for it")
            return None
        return Stage(self, name, command, cap, log)

    def run(self, name, command, cap, log, needed=""):
        """Start a stage and wait for its end; whether it passed."""
        stage = self.begin(name, command, cap, log)
        return stage is not None and stage.end(needed)

    def abreast(self, stages, cap, log, width):
        """Run several, of (name, command), so many at a time."""
        waiting, running = list(stages), []
        while waiting or running:
            while waiting and len(running) < width:
                stage = self.begin(*waiting.pop(0), cap, log)
                running += [] if stage is None else [stage]
            for stage in [stage for stage in running if not stage.running()]:
                running.remove(stage)
                stage.end()
            time.sleep(0.02)

    def close(self):
        """Kill what is left, and sum up; the exit code."""
        kill(descendants(os.getpid()))
        for word, names in (("failed", self.failed), ("left out", self.left_out)):
            if names:
                self.say(f"{word}: {', '.join(names)}")
        total = self.passed + len(self.failed) + len(self.left_out)
        self.say(f"{self.passed} of {total} stages passed; all files are in {self.out}")
        return 0 if self.passed == total else 1
