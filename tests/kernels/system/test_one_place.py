"""No other module of the package knows operating systems: each asks ``accel.kernels.system``."""

import ast

import pytest

from ...test_rooms import TREES

HOME = "accel.kernels.system"
MODULES = {
    "_winapi", "ctypes", "fcntl", "grp", "mmap", "msvcrt", "nt", "platform", "posix", "pty", "pwd",
    "resource", "select", "signal", "termios", "tty", "winreg",
}  # fmt: skip
#: Of ``os`` and ``sys``.
NAMES = {
    "chmod", "cpu_count", "fdatasync", "fork", "forkpty", "fsync", "getpriority", "getpgid",
    "getwindowsversion", "kill", "killpg", "link", "mkfifo", "name", "nice", "open", "platform",
    "posix_spawn", "process_cpu_count", "rename", "replace", "sched_getaffinity",
    "sched_setaffinity", "sched_yield", "setsid", "symlink", "sync", "sysconf", "uname",
}  # fmt: skip
TEXTS = ("/proc", "/sys/", "cygwin", "darwin", "fork", "libc.", "libcuda", "linux", "nvcuda",
         "sched_yield", "usleep", "win32")  # fmt: skip
#: The driver of a GPU is called in one place, the same on every system once it is loaded.
ALLOWED = {("accel._support.gpu", "import ctypes")}


def found(tree):
    """What a module knows of operating systems."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"import {each.name}" for each in node.names
                        if each.name.partition(".")[0] in MODULES)  # fmt: skip
        elif isinstance(node, ast.ImportFrom):
            if node.level == 0 and node.module.partition(".")[0] in MODULES:
                yield f"import {node.module}"
            elif node.module in ("os", "sys"):
                yield from (f"{node.module}.{each.name}" for each in node.names
                            if each.name in NAMES)  # fmt: skip
        elif isinstance(node, ast.Attribute):
            if ast.unparse(node.value) in ("os", "sys") and node.attr in NAMES:
                yield ast.unparse(node)
        elif isinstance(node, ast.Call):
            yield from _of_call(node)
        elif isinstance(node, ast.Constant) and str(node.value).startswith(TEXTS):
            yield repr(node.value)


def _of_call(node):
    """``replace`` and ``rename`` of a path: of a text the former takes more, or else names."""
    if not isinstance(node.func, ast.Attribute):
        return
    one = len(node.args) == 1 and not node.keywords
    if node.func.attr in ("replace", "rename") and one:
        yield f"path.{node.func.attr}"
    if node.func.attr in ("symlink_to", "hardlink_to"):
        yield f"path.{node.func.attr}"


@pytest.mark.parametrize("name", sorted(TREES))
def test_only_one_place_knows_systems(name):
    if name == HOME or name.startswith(f"{HOME}."):
        return
    assert {(name, thing) for thing in found(TREES[name])} <= ALLOWED


def test_that_place_does():
    known = {thing for name in TREES if name.startswith(HOME) for thing in found(TREES[name])}
    assert {"import signal", "os.sched_getaffinity", "os.fsync", "os.replace", "'win32'",
            "'usleep'", "import ctypes", "'/proc'"} <= known  # fmt: skip


@pytest.mark.parametrize(("code", "expected"), [
    ("import signal", ["import signal"]),
    ("def f():\n    import resource as r", ["import resource"]),
    ("from ctypes import CDLL", ["import ctypes"]),
    ("from os import fork, path", ["os.fork"]),
    ("import os\nos.sched_yield()", ["os.sched_yield"]),
    ("if sys.platform == 'win32': pass", ["sys.platform", "'win32'"]),
    ("get_context('fork')", ["'fork'"]),
    ("partial.replace(path)", ["path.replace"]),
    ("text.replace('a', 'b')", []),
    ("ExternalFunction('usleep')", ["'usleep'"]),
    ("open('/proc/meminfo')", ["'/proc/meminfo'"]),
    ("from .platform import x", []),
    ("get_context('spawn')", []),
])  # fmt: skip
def test_what_counts(code, expected):
    assert sorted(found(ast.parse(code))) == sorted(expected)
