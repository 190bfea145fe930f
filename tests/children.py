"""Processes that tests start: an environment of their own, both ends read, a limit of time.

A child does not inherit what pytest and its plugins told this process: `PYTEST_XDIST_WORKER` would
make a pytest in it think that it is a worker, too. Whatever a child writes is read while it runs,
stdout and stderr each by a thread, so that neither can fill up while a test reads the other. After
``limit`` seconds the child and all that it has started are killed, and the test fails.

``test_children.py`` sees to it that tests start processes in no other way.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOREIGN = ("PYTEST_", "COV_", "XDIST_")

#: ``-W`` options of this pytest, for one that a test starts; ``conftest.py`` sets them.
WARNINGS = []


def environment(**changes):
    """The environment without the variables of pytest and its plugins; None removes a variable."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    variables |= changes
    return {name: value for name, value in variables.items() if value is not None}


class End:
    """The output of a child on one pipe, read by a thread as it comes."""

    def __init__(self, descriptor):
        self._descriptor, self._bytes, self._taken = descriptor, bytearray(), 0
        self._ended = False
        self._changed = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        while True:
            try:
                read = os.read(self._descriptor, 2**16)
            except OSError:  # so a terminal reports that its other side is closed
                read = b""
            with self._changed:
                self._bytes += read
                self._ended = not read
                self._changed.notify_all()
            if not read:
                break
        os.close(self._descriptor)

    def _take(self, end):
        begin, self._taken = self._taken, end
        return self._bytes[begin:end].decode()  # whole lines, or all: no character is cut

    def line(self):
        """The next line, once there is a whole one; at the end the rest."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or b"\n" in self._bytes[self._taken :])
            return self._take(self._bytes.find(b"\n", self._taken) + 1 or len(self._bytes))

    def rest(self):
        """Everything up to the end that was not returned yet."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended)
            return self._take(len(self._bytes))

    def tail(self):
        """The last part of all output so far."""
        with self._changed:
            return self._bytes[-5000:].decode(errors="replace")

    def __iter__(self):
        return iter(self.line, "")


class Child:
    """A running process; ``stdout`` is None if the test redirected it."""

    def __init__(self, command, stdout, terminal, limit, cwd, env):
        self.command, self.limit, self.late = [str(word) for word in command], limit, False
        ends = os.openpty() if terminal else os.pipe()
        try:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stderr=ends[1], cwd=cwd, env=env,
                stdout=subprocess.PIPE if stdout is None else stdout,
                start_new_session=True,  # so that its own children can be killed with it
            )  # fmt: skip
        except OSError:
            os.close(ends[0])
            raise
        finally:
            os.close(ends[1])
        self.pid, self.stderr = self._process.pid, End(ends[0])
        pipe = self._process.stdout
        self.stdout = None if pipe is None else End(os.dup(pipe.fileno()))
        if pipe is not None:
            pipe.close()
        self._timer = threading.Timer(limit, self._expire)
        self._timer.start()

    def _expire(self):
        self.late = True
        self.kill()

    def kill(self):
        """Kill it and all processes that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def send_signal(self, number):
        self._process.send_signal(number)

    def wait(self):
        """Wait for its exit status, negative for a signal."""
        return self._process.wait()

    def close(self):
        """Kill it if it still runs, and end the threads that read its output."""
        self._timer.cancel()
        self._timer.join()
        if self._process.poll() is None:
            self.kill()
            self._process.wait()
        for end in (self.stdout, self.stderr):
            if end is not None:
                end.reader.join(10)


@contextlib.contextmanager
def started(*command, stdout=None, terminal=False, limit=120, cwd=None, **changes):
    """Start a child, killed after the block; with ``terminal`` its stderr is a terminal."""
    child = Child(command, stdout, terminal, limit, cwd, environment(**changes))
    try:
        yield child
    finally:
        child.close()
        if child.late:
            said = "".join(end.tail() for end in (child.stdout, child.stderr) if end)
            raise AssertionError(f"{child.command} ran for more than {limit} s: {said}")


def run(*command, code=0, **options):
    """Run a command to its end; check the exit status unless None; return what it wrote."""
    with started(*command, **options) as child:
        out, err = child.stdout.rest(), child.stderr.rest()
        done = subprocess.CompletedProcess(child.command, child.wait(), out, err)
        said = f"{done.returncode}: {child.stdout.tail()}{child.stderr.tail()}"
    assert code in (None, done.returncode), said
    return done


def python(*arguments, **options):
    """Run the Python interpreter of this process."""
    return run(sys.executable, *arguments, **options)


def pytest(*arguments, **options):
    """Run pytest in a process of its own, with the same warnings as errors."""
    ways = ["-q", "-p", "no:cacheprovider", *(word for rule in WARNINGS for word in ("-W", rule))]
    return python("-m", "pytest", *ways, *arguments, **{"cwd": ROOT, **options})
