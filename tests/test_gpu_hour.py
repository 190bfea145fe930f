"""``.ci/gpu`` as far as it goes without a GPU, its stages, and the checks that it runs."""

import json
import lzma
import os
import shutil
import sys
import time
import zipfile
from pathlib import Path

import pytest

from accel._support import gpu
from benchmarks.groups.gpu import cases
from benchmarks.groups.gpu.command import CEILINGS, FIGURE, SCAN, parse

from . import children
from .children import ROOT
from .kernels.cuda.checks import CHECKS, WAVES, Outcome, run
from .test_children import ended

CI = ROOT / ".ci"
in_a_checkout = pytest.mark.skipif(
    not CI.is_dir() or not Path("/proc/self/stat").exists(), reason="needs .ci, and Linux"
)
without_a_gpu = pytest.mark.skipif(gpu.missing() is None, reason="there is a GPU")

#: In a process of its own: the script as a module, and an ``Hour`` with so many seconds.
LOADED = """
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
ci, folder, limit = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
sys.path.insert(0, str(ci))
spec = spec_from_loader("gpu", SourceFileLoader("gpu", str(ci / "gpu")))
gpu = module_from_spec(spec)
spec.loader.exec_module(gpu)
import stages
hour = gpu.Hour(folder / "out", folder / "work", limit)
hour.tree.mkdir()
gpu.adopt()
"""


def on_an_hour(folder, code, limit=60.0, code_of_exit=0, **changes):
    """Run ``code`` on an hour; what it printed, and what its files hold."""
    arguments = ("-c", LOADED + code, CI, folder, limit)
    done = children.python(*arguments, code=code_of_exit, PYTHONDONTWRITEBYTECODE="1", **changes)
    files = {path.name: path.read_text() for path in (folder / "out").iterdir()}
    return done.stdout, files


GRANDCHILDREN = """
import os, subprocess, sys, time
print("first words", flush=True)
for own_session in (False, True):
    command = [sys.executable, "-c", "import time; time.sleep(100)"]
    child = subprocess.Popen(command, start_new_session=own_session)
    print("child", child.pid, flush=True)
time.sleep(100)
"""


@in_a_checkout
def test_after_its_cap_all_of_a_stage_is_killed_and_its_words_are_kept(tmp_path):
    (tmp_path / "long.py").write_text(GRANDCHILDREN)
    began = time.monotonic()
    out, files = on_an_hour(tmp_path, """
hour.run("long", [sys.executable, folder / "long.py"], 3, "a.log")
hour.run("next", [sys.executable, "-c", "print('its turn')"], 10, "a.log")
import os, time
time.sleep(1)
states = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
          for pid in stages.descendants(os.getpid())]
print("states", *states)  # of the dead nobody has asked
sys.exit(hour.close())
""", code_of_exit=1)  # fmt: skip
    assert time.monotonic() - began < 30
    assert "long: FAILED (out of time), 3 s: child" in out
    assert "next: ok, 0 s: its turn" in out
    assert "failed: long\n" in out
    assert "1 of 2 stages passed" in out
    assert set(out.split("states")[1].splitlines()[0].split()) <= {"Z"}
    assert "first words" in files["a.log"]
    pids = [int(line.split()[1]) for line in files["a.log"].splitlines() if line[:5] == "child"]
    assert len(pids) == 2
    for pid in pids:
        wait_for(lambda pid=pid: ended(pid))
    assert not [*(tmp_path / "work").glob("stage-*")]


def wait_for(true):
    for _ in range(200):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("in vain")


@in_a_checkout
def test_whatever_goes_wrong_the_next_stage_has_its_turn(tmp_path):
    out, files = on_an_hour(tmp_path, """
run = [sys.executable, "-c"]
hour.run("absent", ["/no/such/program"], 5, "a.log")
hour.run("wrong", [*run, "import sys; print('why'); sys.exit(3)"], 5, "a.log")
hour.run("killed", [*run, "import os; os.kill(os.getpid(), 9)"], 5, "a.log")
hour.run("says too little", [*run, "print('2 skipped')"], 5, "a.log", needed=r"\\\\d+ passed")
hour.run("silent", [*run, ""], 5, "a.log")
sys.exit(hour.close())
""", code_of_exit=1)  # fmt: skip
    lines = [line.partition("] ")[2] for line in out.splitlines()]
    assert lines[0].startswith("absent: cannot start, 0 s: cannot start: [Errno 2]")
    assert lines[1] == "wrong: FAILED (3), 0 s: why"
    assert lines[2] == "killed: FAILED (-9), 0 s"
    assert lines[3].startswith("says too little: FAILED (nothing in it like")
    assert lines[4] == "silent: ok, 0 s"
    assert lines[5] == "failed: absent, wrong, killed, says too little"
    assert lines[6].startswith("1 of 5 stages passed; all files are in ")
    assert files["a.log"].count("=== ") == 5


@in_a_checkout
def test_several_at_a_time(tmp_path):
    """No more than that, and what has no time left is left out."""
    out, _ = on_an_hour(tmp_path, """
import time
command = [sys.executable, "-c", "import time; time.sleep(1)"]
began = time.monotonic()
hour.abreast([(str(i), command) for i in range(4)], 20, "a.log", 2)
print("took", time.monotonic() - began)
hour.ends = time.monotonic() + 1
hour.abreast([("late", command)], 20, "a.log", 2)
assert gpu.waves(hour) == []
sys.exit(hour.close())
""", code_of_exit=1)  # fmt: skip
    assert 2 <= float(out.split("took ")[1].split()[0]) < 3.9
    assert "late: left out: no time for it" in out
    assert "left out: late, list of checks\n" in out
    assert "4 of 6 stages passed" in out


@in_a_checkout
def test_a_long_log_keeps_its_ends(tmp_path):
    code = "print('begin'); print('x' * 300_000); print('end')"
    _, files = on_an_hour(tmp_path, f"""
hour.run("talks", [sys.executable, "-c", {code!r}], 20, "a.log")
sys.exit(hour.close())
""")  # fmt: skip
    assert 80_000 < len(files["a.log"]) < 81_000
    assert files["a.log"].splitlines()[1] == "begin"
    assert files["a.log"].rstrip().endswith("x\nend")
    assert " bytes left out ...]" in files["a.log"]


@in_a_checkout
def test_who_is_asked_to_end_takes_its_stages_along(tmp_path):
    code = f"""
import time
(folder / "long.py").write_text({GRANDCHILDREN!r})
def part(hour):
    hour.run("long", [sys.executable, folder / "long.py"], 50, "a.log")
gpu.WORK, gpu.part_a, gpu.prepare = folder / "work", part, lambda *_: None
sys.exit(gpu.main(["A"]))
"""
    arguments = [sys.executable, "-c", LOADED + code, CI, tmp_path, 60]
    said = tmp_path / "work" / "stage-long.txt"
    variables = {"OUT": str(tmp_path / "out"), "PYTHONDONTWRITEBYTECODE": "1"}
    with children.started(*arguments, **variables) as child:
        wait_for(lambda: said.exists() and said.read_text().count("child") == 2)
        child.send_signal(15)
        assert child.wait() == 143
    pids = [int(line.split()[1]) for line in said.read_text().splitlines()[1:]]
    for pid in pids:
        wait_for(lambda pid=pid: ended(pid))


def wheel(folder):
    path = folder / "carried_probe-1.0-py3-none-any.whl"
    info = "carried_probe-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("carried_probe.py", "VALUE = 1\n")
        file.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: carried-probe\nVersion: 1.0\n"
        )
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")


@in_a_checkout
@pytest.mark.parametrize("given", [None, pytest.param("/of/the/user", marks=pytest.mark.slow)])
def test_what_is_carried_is_found(tmp_path, given):
    """By a stage: data, a wheel, a copy of the checkout with the kernels in it, libnvvm."""
    carried = tmp_path / "carried"
    carried.mkdir()
    (carried / "gas_ethanol.npz").write_bytes(b"")
    (carried / "libnvvm.so.4.xz").write_bytes(lzma.compress(b"a library"))
    (carried / "libdevice.10.bc").write_bytes(b"bitcode")
    wheel(carried)
    code = """
import os; from pathlib import Path; import accel, accel.kernels, carried_probe
print(os.environ["ACCEL_DATA"]); print(accel.__file__); print(accel.kernels.__file__)
print((Path(os.environ["CUDA_HOME"]) / "nvvm/lib64/libnvvm.so.4").read_bytes())
"""
    out, files = on_an_hour(tmp_path, f"""
gpu.tool = lambda name: None
gpu.prepare(hour, folder / "carried")
hour.run("stage", [sys.executable, "-c", {code!r}], 30, "b.log")
sys.exit(hour.close())
""", ACCEL_DATA=given, CUDA_HOME=None, PYTHONPATH=None)  # fmt: skip
    assert "carried wheels: ok" in out
    tree = tmp_path / "work" / "tree"
    assert files["b.log"].splitlines()[1:5] == [
        given or str(carried / "gas_ethanol.npz"),
        str(tree / "accel" / "__init__.py"),
        str(tree / "accel" / "kernels" / "__init__.py"),
        "b'a library'",
    ]
    assert (tree / "accel" / "kernels").readlink() == Path("../kernels")


@in_a_checkout
@pytest.mark.parametrize("place", [None, "checkout/shared/data", "shared/data"])
def test_the_gas_data(tmp_path, place):
    """It is looked for beside the checkout, too; without it the figures would be others."""
    (tmp_path / "checkout" / "accel").mkdir(parents=True)
    if place is not None:
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "gas_ethanol.npz").write_bytes(b"")
    out, _ = on_an_hour(tmp_path, """
gpu.ROOT = folder / "checkout"
gpu.prepare(hour, folder / "carried")
print("data:", hour.environment.get("ACCEL_DATA"))
sys.exit(hour.close())
""", code_of_exit=int(place is None), ACCEL_DATA=None)  # fmt: skip
    assert f"data: {place and tmp_path / place / 'gas_ethanol.npz'}\n" in out
    assert ("gas data: FAILED: no " in out) == (place is None)


#: Stands in for Python and NVIDIA's programs: notes its arguments, writes what is asked for.
STUB = """#!/bin/sh
echo "$@" >>"$LOG"
case "$*" in *--list) printf 'one two\\nthree\\n';; *) echo 17 passed;; esac
case "$*" in *gpu\\ merge*) [ $MERGED = 0 ] && echo '{}' >"$5/merged.json"; exit $MERGED;; esac
while [ $# -gt 0 ]; do [ "$1" != --output ] || echo '{}' >"$2"; shift; done
"""


@in_a_checkout
@pytest.mark.parametrize(("part", "merged"), [("A", 0), ("B", 0), ("B", 2)])
def test_what_is_run_where_all_goes_well(tmp_path, part, merged):
    (tmp_path / "gas_ethanol.npz").write_bytes(b"")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("python", "nvidia-smi", "compute-sanitizer"):
        (programs / name).write_text(STUB)
        (programs / name).chmod(0o755)
    code = f"""
stub = gpu.PYTHON = str(folder / "bin" / "python")
gpu.CHECKS = [stub, *gpu.CHECKS[1:]]
gpu.PYTEST = [stub, *gpu.PYTEST[1:]]
gpu.WORK, gpu.CARRIED = folder / "work", folder
sys.exit(gpu.main(["{part}"]))
"""
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    variables = {"PATH": path, "LOG": str(tmp_path / "log"), "OUT": str(tmp_path / "out")}
    out, files = on_an_hour(tmp_path, code, code_of_exit=int(merged != 0), MERGED=str(merged),
                        **variables)  # fmt: skip
    calls = (tmp_path / "log").read_text().splitlines()
    assert len(files) <= 7
    figures = [call.split() for call in calls if call.startswith("-m benchmarks gpu --")]
    known = [CEILINGS, *(case.name for case in cases.CASES), FIGURE, SCAN]
    for words in figures:
        options = parse(words[3:])
        assert set(options.case) <= set(known)
        assert options.budget < 170
    asked = [call.split()[-1] for call in calls if "cuda.checks" in call]
    assert any(call.startswith("-m accel.kernels.cuda.warm --jobs ") for call in calls)
    assert any(call.endswith(" facts") for call in calls)
    if part == "A":
        assert asked[0] == "--list"
        assert sorted(asked[1:3]) == ["one", "two"]  # together
        assert asked[3] == "three"
        assert "quick.json" in files
        assert len(figures) == 1
        assert "--quick" in figures[0]
        return
    assert set(asked) <= set(CHECKS)
    assert asked[-1] == "resident-2"
    assert any("memcheck" in call and call.endswith(" resident-2") for call in calls)
    measured = [case for words in figures for case in parse(words[3:]).case]
    assert sorted(measured) == sorted(known)
    (tests,) = (call.split() for call in calls if call.startswith("-m pytest "))
    assert all((ROOT / word).exists() for word in tests if word.startswith("tests/"))
    parts = [str(tmp_path / "work" / f"figures-{i}.json") for i in (1, 2, 3)]
    assert calls[-2].split()[1:] == ["benchmarks", "gpu", "merge", str(tmp_path / "out"), *parts]
    if merged:
        assert list(json.loads(files["parts.json"])) == [f"figures-{i}.json" for i in (1, 2, 3)]
        assert "failed: merge" in out
    else:
        assert "merged.json" in files


@pytest.mark.slow
@in_a_checkout
@without_a_gpu
@pytest.mark.parametrize("part", ["A", "B"])
def test_without_a_gpu_it_runs_to_its_end(tmp_path, part):
    """Every stage fails by itself, says why in a line, and leaves nothing behind."""
    checkout, out = tmp_path / "checkout", tmp_path / "out"
    listed = ("accel", "kernels", "benchmarks", "tests", ".ci", "pyproject.toml", "README.md")
    for name in listed:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, checkout / name, symlinks=True,
                            ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
        else:
            shutil.copy(ROOT / name, checkout)
    before = sorted(checkout.rglob("*"))
    done = children.run(sys.executable, checkout / ".ci" / "gpu", part, "95", code=1, limit=150,
                        TMPDIR=str(tmp_path), OUT=str(out), OMP_NUM_THREADS="1")  # fmt: skip
    assert not done.stderr
    lines = [line.partition("] ")[2] for line in done.stdout.splitlines()]
    names = [line.split(":")[0] for line in lines]
    expected = {
        "A": [*(f"check {name}" for name in CHECKS), "figures, quick"],
        "B": ["figures 1", "figures 2", "figures 3", "tests", "memcheck", "merge"],
    }
    assert "gas data" in names or "ACCEL_DATA" in os.environ
    for name in ("nvidia-smi", "facts", "accel info", "warm", *expected[part]):
        assert names.count(name) == 1, (name, lines)
    for line in lines[:-3]:
        name = line.split(":")[0]
        passes = name in ("accel info", "list of checks")
        assert passes == (": ok, " in line), line
    assert all("no NVIDIA driver" in line for line in lines if line.startswith("check "))
    files = {path.name for path in out.iterdir()}
    assert len(files) <= 7
    more = {"A": set(), "B": {"tests.log"}}[part]
    assert files == {
        "summary.txt", "facts.log", "checks.log", "benchmarks.log", "warm.log", *more
    }  # fmt: skip
    assert (out / "summary.txt").read_text() == done.stdout
    assert sorted(checkout.rglob("*")) == before
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            left = str(tmp_path).encode() in path.read_bytes()
        except OSError:
            continue
        assert not left, path


def test_the_checks_are_listed():
    done = children.python("-m", "tests.kernels.cuda.checks", "--list", cwd=ROOT)
    assert [line.split() for line in done.stdout.splitlines()] == [list(wave) for wave in WAVES]
    assert len(CHECKS) == sum(map(len, WAVES)) >= 20


@without_a_gpu
def test_a_check_without_a_gpu():
    done = children.python("-m", "tests.kernels.cuda.checks", "chain", cwd=ROOT, code=1,
                           NUMBA_ENABLE_CUDASIM=None)  # fmt: skip
    assert done.stdout == f"FAIL chain: {gpu.missing()}\n"


@pytest.mark.parametrize("arguments", [["no-such-check"], []])
def test_no_such_check(arguments):
    done = children.python("-m", "tests.kernels.cuda.checks", *arguments, cwd=ROOT, code=2)
    assert "usage: python -m tests.kernels.cuda.checks" in done.stderr


def test_a_check_in_the_simulator():
    """``test_simulated_checks.py`` has all of them; here it is the command."""
    pytest.importorskip("numba_cuda")
    pytest.importorskip("greenlet")
    done = children.python("-m", "tests.kernels.cuda.checks", "resident-2", cwd=ROOT,
                           NUMBA_ENABLE_CUDASIM="1")  # fmt: skip
    assert done.stdout.startswith("ok   resident-2: off by ")
    assert "resident, blocks: 2" in done.stdout


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        (Outcome(1.0, 1.0), "ok   a: off by 1.0e+00 of 1e+00 allowed; "),
        (Outcome(0.0, 0.0, "a note"), "ok   a: off by 0.0e+00 of 0e+00 allowed; a note; "),
        (Outcome(1.1, 1.0), "FAIL a: off by 1.1e+00 of 1e+00 allowed; "),
        (Outcome(float("nan"), 1.0), "FAIL a: off by nan of 1e+00 allowed; "),
        (RuntimeError("two\nlines"), "FAIL a: RuntimeError: two lines"),
    ],
)
def test_the_line_of_a_check(outcome, line, monkeypatch):
    def check():
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setitem(CHECKS, "a", check)
    right, said = run("a")
    assert right == line.startswith("ok")
    assert said.startswith(line)
