"""CI runs what a newcomer runs, with versions that were tested; and whose warnings are errors."""

import ast
import os
import shlex
import shutil
import tomllib

import numpy as np
import pytest
from packaging.requirements import Requirement

from . import children
from .children import ROOT

CI = ROOT / ".ci"

#: Stands in for every program: notes how it was called; as ``python3 -m venv`` it makes copies.
STUB = """#!/bin/sh
{ for word in "$PYTEST_ADDOPTS" "$0" "$@"; do printf '%s\\t' "$word"; done; echo; } >>"$LOG"
if [ "$2" = venv ]; then
    mkdir -p "$3/bin"
    for name in python pip accel ruff mypy; do cp "$STUB" "$3/bin/$name"; done
fi
"""


def readme_commands():
    lines = (ROOT / "README.md").read_text().splitlines()
    found = [line.strip() for line in lines if line.startswith("    python3 -m venv")]
    assert len(found) == 2
    return found


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """``calls(readme)``: what .ci/run calls, after pytest's options from the environment."""
    if not CI.is_dir():
        pytest.skip("no checkout: an sdist has no .ci")

    def made(readme):
        folder = tmp_path_factory.mktemp("ci")
        checkout, stub = folder / "checkout", folder / "bin" / "python3"
        for path in (stub, checkout / ".ci" / "docs", checkout / ".ci" / "packaging"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(STUB)
            path.chmod(0o755)
        shutil.copy(CI / "run", checkout / ".ci")
        (checkout / "README.md").write_text(readme)
        path = os.pathsep.join([str(stub.parent), os.environ["PATH"]])
        children.run(
            "bash", ".ci/run", cwd=checkout, PATH=path, LOG=str(folder / "log"), STUB=str(stub)
        )
        calls = [line.split("\t")[:-1] for line in (folder / "log").read_text().splitlines()]
        return [(options, program.removeprefix(f"{stub.parent}/"), *words)
                for options, program, *words in calls]  # fmt: skip

    return made


@pytest.mark.parametrize(
    "change", [("", ""), ("worksteal", "load"), ("accel compare", "accel info")]
)
def test_ci_runs_the_readmes_commands_word_by_word(calls, change):
    readme = (ROOT / "README.md").read_text().replace(*change)
    commands = [command.replace(*change) for command in readme_commands()]
    expected = [
        [tuple(shlex.split(part)) for part in command.split(" && ")] for command in commands
    ]
    ran = [tuple(words) for _, *words in calls(readme)]
    places = []
    for parts in expected:
        starts = [i for i in range(len(ran)) if ran[i : i + len(parts)] == parts]
        assert starts, f"not run by .ci/run: {parts}"
        places.append(starts[0])
    assert places == sorted(places)


def test_ci_leaves_no_test_out(calls):
    """What is slow, and so left out by the README's command, is run last; both are strict."""
    made = calls((ROOT / "README.md").read_text())
    tests = [(options, words) for options, *words in made if "pytest" in words]
    assert [words[-2:] for _, words in tests] == [["-m", "not slow"], ["-m", "slow"]]
    assert tests[0][1][:-1] == tests[1][1][:-1]
    last = [words[0] for _, *words in made][-3:]
    assert last == [".ci/docs", ".ci/packaging", ".venv/bin/python"]
    for options, _ in tests:
        assert shlex.split(options)[:2] == ["-W", "error"]


OWN = """
import warnings
import foreign, pytest
from accel.sklearn import LpRegressor

def test_another_package():
    foreign.tell(UserWarning, 1)

def test_what_another_package_will_change():
    foreign.tell(FutureWarning, 2)
    foreign.tell(DeprecationWarning, 2)

def test_accel_to_its_caller():
    LpRegressor(solver="gradient", max_iter=2).fit([[1.0], [2.0], [4.0]], [1.0, 3.0, 2.0])

def test_arithmetic_within_accel(monkeypatch):
    from accel._support import validation
    code = "import numpy as np\\nnp.float64(1) / np.float64(0)"
    exec(code, vars(validation))
"""
FOREIGN = """
import warnings

def tell(category, stacklevel):
    warnings.warn("of theirs", category, stacklevel)
"""


def outcomes(folder, *options):
    """Names of the tests that fail in a pytest under our settings."""
    (folder / "tests").mkdir()
    (folder / "tests" / "test_warnings.py").write_text(OWN)
    (folder / "foreign.py").write_text(FOREIGN)
    done = children.python(
        "-m", "pytest", "-p", "no:cacheprovider", "-c", ROOT / "pyproject.toml",
        "--rootdir", folder, *options, "tests",
        cwd=folder, code=None, PYTHONPATH=str(folder), ACCEL_NUM_THREADS="1",
    )  # fmt: skip
    assert "4 passed" in done.stdout or "failed" in done.stdout, done.stdout + done.stderr
    return {line.split("::")[1].split()[0] for line in done.stdout.splitlines()
            if line.startswith("FAILED")}  # fmt: skip


OURS = {"test_accel_to_its_caller", "test_arithmetic_within_accel"}


def test_only_warnings_of_accel_fail_a_users_tests(tmp_path):
    pytest.importorskip("sklearn")
    assert outcomes(tmp_path) == OURS


def test_in_ci_every_warning_fails(tmp_path, calls):
    pytest.importorskip("sklearn")
    strict = next(options for options, *_ in calls((ROOT / "README.md").read_text()) if options)
    theirs = {"test_another_package", "test_what_another_package_will_change"}
    assert outcomes(tmp_path, *shlex.split(strict)) == OURS | theirs


def requirements():
    """The requirements of the extras dev and docs, with those of the extras that they name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found, extras = list(project["dependencies"]), ["dev", "docs"]
    for extra in extras:
        for text in project["optional-dependencies"][extra]:
            needed = Requirement(text)
            if needed.name == project["name"]:
                extras += sorted(needed.extras - set(extras))
            else:
                found.append(text)
    return sorted(set(found))


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("system", ["linux", "darwin"])
def test_constraints_pin_what_we_need(python, system):
    """Each to one version, that pyproject.toml admits; ``.ci/constraints`` writes them."""
    where = {"python_version": python, "python_full_version": f"{python}.4", "sys_platform": system,
             "platform_machine": {"linux": "x86_64", "darwin": "arm64"}[system]}  # fmt: skip
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    pins = [pin for pin in pins if pin.marker is None or pin.marker.evaluate(where)]
    versions = {pin.name: str(pin.specifier) for pin in pins}
    assert len(versions) == len(pins)
    assert all(version.startswith("==") for version in versions.values())
    assert "torch" not in versions
    needs = [Requirement(text) for text in requirements()]
    needs = [need for need in needs if need.marker is None or need.marker.evaluate(where)]
    assert len(needs) >= 20
    for need in needs:
        assert need.specifier.contains(versions[need.name][2:]), need


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="no worker of pytest-xdist")
def test_blas_has_one_thread_in_a_worker():
    """As ``conftest.py`` says, if nothing loads NumPy before it; or as many as the user says."""
    np.linalg.inv(np.eye(2))
    pools = pytest.importorskip("threadpoolctl").threadpool_info()
    found = {pool["num_threads"] for pool in pools if pool["internal_api"] == "openblas"}
    assert found <= {int(os.environ["OPENBLAS_NUM_THREADS"])}


def test_tests_of_packages_that_are_not_asked_for_skip():
    """The extra test has none of these: a file that imports one at its top would end the run."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        guarded = set()
        for node in ast.parse(path.read_text()).body:
            imported, value = [], getattr(node, "value", None)
            if isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported = [node.module]
            elif isinstance(value, ast.Call) and ast.unparse(value.func) == "pytest.importorskip":
                guarded.add(value.args[0].value)
            names = {name.partition(".")[0] for name in imported} & {"torch", "jax", "cupy"}
            assert names <= guarded, path
