"""The processes that tests start, and that none is started in another way."""

import ast
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from .children import ROOT, environment, python, run, started

#: What starts a program. A fork of this process, or a pool of forks, is another matter: it has no
#: environment of its own, and whoever makes one waits for it with a limit.
MODULES = {"subprocess", "pty", "pexpect"}
FUNCTIONS = ("system", "popen", "spawn", "exec", "posix_spawn", "create_subprocess")


def starts(source):
    """Lines of a module that start a program, or import what does."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(name.name for name in node.names)]
            if node.module in ("os", "asyncio"):
                names += [f"{node.module}.{name.name}" for name in node.names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names = [f"{node.value.id}.{node.attr}"]
        else:
            continue
        for name in names:
            package, _, function = name.partition(".")
            if (name in MODULES) or (
                package in ("os", "asyncio") and function.startswith(FUNCTIONS)
            ):
                yield node.lineno


def test_all_are_started_here():
    places = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in (ROOT / "tests").rglob("*.py")
        if path != Path(__file__).with_name("children.py")
        for line in starts(path.read_text())
    ]
    assert not places, "tests start processes by tests/children.py alone"


@pytest.mark.parametrize("source", [
    "import subprocess", "import os, subprocess as s", "from subprocess import run", "import pty",
    "import os\nos.system('ls')", "from os import popen", "import os\nos.posix_spawn('ls')",
    "import asyncio\nasyncio.create_subprocess_exec('ls')", "os.execv('ls', [])",
])  # fmt: skip
def test_the_next_one_will_be_found(source):
    assert list(starts(source))


def test_what_starts_nothing():
    assert not list(starts("import os, multiprocessing\nos.environ\nos.fork()"))


def test_what_pytest_told_this_process_is_not_passed_on(monkeypatch):
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS", "COV_CORE_SOURCE"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("ACCEL_OF_THE_USER", "1")
    monkeypatch.setenv("ACCEL_NOT_WANTED", "1")
    assert "PYTEST_CURRENT_TEST" in os.environ
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    printed = python("-c", code, ACCEL_ADDED="2", ACCEL_NOT_WANTED=None).stdout
    assert "PYTEST" not in printed
    assert "COV_CORE" not in printed
    assert '"ACCEL_OF_THE_USER": "1"' in printed
    assert '"ACCEL_ADDED": "2"' in printed
    assert "ACCEL_NOT_WANTED" not in printed
    assert environment().get("PATH") == os.environ.get("PATH")


#: More than a pipe or a terminal holds, at one end and then at the other, in characters of three
#: bytes, which the chunks that are read cut.
MUCH = """
import sys
for end in (sys.stderr, sys.stdout, sys.stderr):
    end.reconfigure(encoding="utf-8")
    end.write("\\u2588" * 200_000 + "\\n")
    end.flush()
"""


@pytest.mark.parametrize("terminal", [False, True])
def test_both_ends_are_read_while_it_runs(terminal):
    with started(sys.executable, "-c", MUCH, terminal=terminal, limit=60) as child:
        out, err = child.stdout.rest(), child.stderr.rest()
        assert child.wait() == 0
    assert out == "\u2588" * 200_000 + "\n"
    assert err.split() == ["\u2588" * 200_000] * 2


def test_lines_as_they_come():
    code = "import time; print('one'); print('two', flush=True); time.sleep(60)"
    before = threading.active_count()
    with started(sys.executable, "-c", code) as child:
        assert child.stdout.line() == "one\n"
        assert next(iter(child.stdout)) == "two\n"
    assert child.wait() < 0  # killed as the block ended
    assert threading.active_count() == before
    assert list(child.stdout) == []


LONG = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("started", child.pid, flush=True)
child.wait()
"""


def ended(pid):
    """Whether the process is gone, or dead and waiting for somebody to ask."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_after_its_limit_it_is_killed_and_what_it_started_too():
    began = time.monotonic()
    with pytest.raises(AssertionError, match="ran for more than 2 s") as caught:
        python("-c", LONG, limit=2)
    assert time.monotonic() - began < 30
    pid = int(str(caught.value).split("started ")[-1].split()[0])
    for _ in range(100):
        if ended(pid):
            break
        time.sleep(0.05)
    assert ended(pid)


def test_its_exit_status():
    code = "import sys; sys.exit('no such thing')"
    with pytest.raises(AssertionError, match="no such thing"):
        python("-c", code)
    assert python("-c", code, code=1).stderr == "no such thing\n"
    assert python("-c", "import sys; sys.exit(3)", code=None).returncode == 3
    with pytest.raises(FileNotFoundError):
        run("/no/such/program")
