"""``accel warm``: which processes compile what, and that later runs find it."""

import contextlib
import re
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from accel._support import compiling
from accel.cli import warming
from accel.cli.warming import Kernel, Outcome, Study
from accel.kernels.compiling import Compilation
from accel.tuning import Model, Start

from ...children import python
from ..problems import PROBLEM
from ..shell import COMMAND, SMALL, run, spawn

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")

STUDY = Study(PROBLEM, [Model("gd", 1), Model("gd", 2), Model("adam", 1)], Start(), 10, 1)
LOOP, HESSIAN = Kernel("solo loop", "the loop", 12.0), Kernel("lp_loss hessian", "the Hessian", 1.0)


class Disk:
    """Workers that share a disk: pieces need kernels by name; ``keeps`` says whether it is kept."""

    def __init__(self, needs, keeps=True):
        self.needs, self.keeps, self.kept, self.compiled = needs, keeps, set(), []
        self.lock, self.folder = threading.Lock(), None

    def work(self, piece):
        outcome, mine = Outcome(), str(threading.get_ident())
        for name in self.needs(piece):
            with self.lock:
                if name in self.kept:
                    outcome = outcome._replace(found=(*outcome.found, Kernel(name, name)))
                    continue
                path = self.folder / name
                if path.exists() and path.read_text() != mine:
                    return outcome._replace(given_back=True)
                path.write_text(mine)
            self.compiled.append(name)
            outcome = outcome._replace(compiled=(*outcome.compiled, Kernel(name, name)))
            with self.lock:
                if self.keeps:
                    self.kept.add(name)
        return outcome

    @contextlib.contextmanager
    def pool(self, jobs, study, folder, quiet):
        self.folder = folder
        with ThreadPoolExecutor(jobs) as pool:
            yield pool


@pytest.fixture
def outcomes(monkeypatch):
    def outcomes(disk, jobs):
        monkeypatch.setattr(warming, "_pool", disk.pool)
        monkeypatch.setattr(warming, "_work", disk.work)
        return list(warming.warm(STUDY, jobs))

    return outcomes


def needs(piece):
    if piece == "optimum":
        return ["hessian"]
    return ["many", "one"] if piece == "sweep" else ["one", "hessian", f"of {piece.optimizer}"]


@pytest.mark.parametrize("jobs", [1, 2, 3, 9])
def test_every_kernel_is_compiled_once(outcomes, jobs):
    disk = Disk(needs)
    ended = [outcome for outcome in outcomes(disk, jobs) if not outcome.given_back]
    assert len(ended) == 5
    assert sorted(disk.compiled) == ["hessian", "many", "of adam", "of gd", "one"]


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_it_ends_where_nothing_is_kept(outcomes, jobs):
    disk = Disk(needs, keeps=False)
    assert len([outcome for outcome in outcomes(disk, jobs) if not outcome.given_back]) == 5
    assert {*disk.compiled} == {"hessian", "many", "of adam", "of gd", "one"}


@pytest.fixture
def worker(monkeypatch, tmp_path):
    """``worker(number)``: one of several processes, as far as what they take is concerned."""
    monkeypatch.setattr(compiling, "_hearers", compiling._hearers)

    def worker(number):
        monkeypatch.setattr("os.getpid", lambda: number)
        return warming._Worker(STUDY, tmp_path, False)

    return worker


def test_a_kernel_that_another_has_is_left_to_it(worker, monkeypatch, capsys):
    what = Compilation("cpu", "solo", "loop_float64", True)
    first, second = worker(1), worker(2)

    def do(study, piece):
        raised = first if piece == "mine" else second
        raised._compile(what)(True)

    monkeypatch.setattr(warming, "_do", do)
    monkeypatch.setattr("os.getpid", lambda: 1)
    (kernel,) = first.do("mine").compiled
    assert (kernel.name, kernel.seconds) == ("solo loop_float64", pytest.approx(0, abs=5))
    assert kernel.words.startswith("the training loop for float64")
    assert len(first.do("mine").compiled) == 1  # for other arguments
    monkeypatch.setattr("os.getpid", lambda: 2)
    assert second.do("theirs") == Outcome(given_back=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"accel: compiling {kernel.words} ..."] * 2


def test_what_is_found_and_what_fails_is_told_once(worker, monkeypatch):
    one = worker(1)

    def do(study, piece):
        one._load("lp_loss", "hessian_4_lp")
        one._cannot_keep(OSError("disk full"))
        one._compile(Compilation("cpu", "solo", "loop", True))(False)
        raise ValueError("no minimum")

    monkeypatch.setattr(warming, "_do", do)
    outcome = one.do("optimum")
    assert [kernel.name for kernel in outcome.found] == ["lp_loss hessian_4_lp"]
    assert outcome.problems == ("a kernel could not be kept: disk full", "optimum: no minimum")
    assert not outcome.compiled
    monkeypatch.setattr(warming, "_do", lambda study, piece: None)
    assert one.do("optimum") == Outcome()


def test_a_piece_begins_all_that_a_study_does(monkeypatch):
    """Runs, which are the reference's here, end as soon as they have begun."""
    begun = []

    def recorded(name):
        function = getattr(warming, name)

        def call(*arguments, **options):
            result = function(*arguments, **options | {"backend": "reference"})
            begun.append((name, result))
            return result

        monkeypatch.setattr(warming, name, call)

    for name in ("train", "sweep", "compare"):
        recorded(name)
    for piece in ("optimum", STUDY.models[1], "sweep"):
        warming._do(STUDY._replace(steps=10**9), piece)
    (_, trained), (_, compared), (_, swept) = begun
    assert trained.network.depth == 2
    assert trained.status == "interrupted"
    assert compared.interrupted
    assert len(swept) == 3


SCRIPT = """
import os, sys
import accel
from accel.cli.warming import Study, warm
from accel.tuning import Start

class Dies:
    def __reduce__(self):
        return os._exit, (3,)

problem = accel.LpProblem([[1.0, 0.0], [0.0, 1.0], [1.0, 2.0]], [3.0, 1.0, 0.5], p=4)
if __name__ == "__main__":
    for outcome in warm(Study(Dies() if "die" in sys.argv else problem, [], Start(), 1, 1), 2):
        print(len(outcome.compiled), len(outcome.found), outcome.problems, outcome.given_back)
"""


def test_a_real_kernel(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    options = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "limit": 240}
    compiled, found, *rest = python(script, **options).stdout.split(maxsplit=2)
    assert int(compiled) > 0
    assert (found, rest) == ("0", ["() False\n"])
    assert python(script, **options).stdout == f"0 {compiled} () False\n"
    assert "MemoryError: a process that compiles was ended" in (
        python(script, "die", code=1, **options).stderr
    )


def test_ctrl_c_ends_all_processes(tmp_path):
    with spawn("warm", *SMALL, "--jobs", "2", NUMBA_CACHE_DIR=str(tmp_path / "cache")) as command:
        assert command.stderr.line().startswith("accel: compiling ")
        command.send_signal(signal.SIGINT)
        command.stderr.rest()  # it ends when none of them can write to it any more
        assert command.wait() == 130


@pytest.fixture
def stand_in(monkeypatch):
    """``stand_in(*outcomes)``: what the processes will tell."""

    def stand_in(*outcomes):
        monkeypatch.setattr(warming, "warm", lambda study, jobs, quiet: iter(outcomes))

    return stand_in


@pytest.fixture
def folder(monkeypatch, tmp_path):
    folder = tmp_path / "kept"
    folder.mkdir()
    for name, size in {"a.nbi": 100_000, "a.1.nbc": 400_000, "a.pyc": 5, "b.txt": 6}.items():
        (folder / name).write_bytes(bytes(size))
    (folder / "accel-made-for.py311.json").write_text("[]")
    monkeypatch.setattr("accel.cli.warm.kernel_cache", lambda: folder)
    return folder


def test_what_it_says(stand_in, folder):
    stand_in(
        Outcome(compiled=(LOOP,)), Outcome(given_back=True),
        Outcome(found=(LOOP, HESSIAN)), Outcome(found=(HESSIAN,)),
    )  # fmt: skip
    ended = run("warm", *SMALL)
    assert ended.exit_code == 0
    assert ended.stderr == ""
    first, *lines, last = ended.stdout.splitlines()
    assert first.startswith("ill_conditioned (40 x 3")
    assert lines == ["compiled the loop: 12.0 s", "found the Hessian"]
    expected = rf"1 compiled, 1 found, .* s; {re.escape(str(folder))}: 2 files, 0\.5 MB"
    assert re.fullmatch(expected, last)
    assert len(run("warm", *SMALL, "--quiet").stdout.splitlines()) == 1


def test_problems_are_told_once_and_change_the_exit_code(stand_in, folder):
    stand_in(Outcome(problems=("no",)), Outcome(problems=("no", "never")))
    ended = run("warm", *SMALL)
    assert ended.exit_code == 1
    assert ended.stderr == "accel: no\naccel: never\n"


def test_old_kernels_are_deleted_if_asked_for(stand_in, folder):
    stand_in()
    assert "deleted: 0.5 MB" in run("warm", *SMALL, "--clear").stdout.splitlines()
    assert sorted(path.name for path in folder.iterdir()) == ["a.pyc", "b.txt"]
    assert "0 files, 0.0 MB" in run("warm", *SMALL, "--clear").stdout


def test_without_a_place_or_a_compiler_it_is_refused(monkeypatch):
    monkeypatch.setattr(warming, "warm", pytest.fail)
    monkeypatch.setenv("ACCEL_CACHE", "0")
    ended = run("warm", *SMALL)
    assert ended.exit_code == 2
    assert ended.stderr.startswith("accel: kernels cannot be kept: off (ACCEL_CACHE=0)")
    monkeypatch.setattr("accel.cli.warm.unavailable", lambda: {"cpu": "no compiler"})
    ended = run("warm", *SMALL)
    assert ended.exit_code == 2
    assert ended.stderr == "accel: there is nothing to compile: no compiler\n"


THEN = """
import sys
import accel
from accel.cli import main

data = accel.datasets.load_diabetes()
data = accel.standardize(data.X, data.y)
problem = accel.LpProblem(data.X, data.y, p=4)
net = accel.LinearNetwork.for_problem(problem, 2)
accel.train(problem, net, accel.Adam(0.01), 100)
accel.sweep(problem, [(net, accel.GradientDescent(rate)) for rate in (0.01, 0.02)], 100)
sys.argv = ["accel", "compare"]
main()
"""


@pytest.mark.slow
def test_after_it_a_study_compiles_nothing(tmp_path):
    pytest.importorskip("sklearn")
    options = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "limit": 400}
    ended = python(*COMMAND[1:], "warm", **options)
    assert "compiled the training loop" in ended.stdout
    assert "compiling" not in python("-c", THEN, **options).stderr
    assert re.search(r"^0 compiled", python(*COMMAND[1:], "warm", **options).stdout, re.MULTILINE)
