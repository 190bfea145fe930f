"""What is said in several places agrees: versions, addresses, Pythons, commands, requirements."""

import re
import shlex
import shutil
import tomllib

import pytest
from packaging.requirements import Requirement

from .children import ROOT, python
from .test_ci import readme_commands

yaml = pytest.importorskip("yaml")
if not (ROOT / ".github").is_dir():
    pytest.skip("no checkout: an sdist has no workflows", allow_module_level=True)

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PYTHONS = [each.split()[-1] for each in PROJECT["classifiers"]
           if re.search(r":: Python :: 3\.\d+$", each)]  # fmt: skip
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in FILES}
RECIPE = yaml.safe_load((ROOT / "conda" / "recipe.yaml").read_text())


def steps(workflow):
    """The steps of all jobs; a job that calls another workflow has none."""
    return [step for job in workflow["jobs"].values() for step in job.get("steps", [])]


def runs(workflow):
    """The lines that the steps of a workflow run, as words."""
    texts = [step["run"] for step in steps(workflow) if "run" in step]
    return [shlex.split(line) for text in texts for line in text.splitlines()]


# Versions


def test_the_citation_and_the_recipe_have_the_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert str(citation["version"]) == RECIPE["context"]["version"] == PROJECT["version"]
    ours = PROJECT["license"].split(" AND ")[0]  # and that of the code that lies beside ours
    assert [citation["title"], citation["license"]] == [PROJECT["name"], ours]
    assert citation["authors"] == PROJECT["authors"]


@pytest.fixture
def release(tmp_path):
    """Run ``.ci/release.py TAG`` on copies, in one of which a text is replaced by another."""

    def run(tag, name="pyproject.toml", old="", new="", **options):
        for each in (".ci/release.py", "pyproject.toml", "CITATION.cff", "CHANGELOG.md"):
            (tmp_path / each).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / each, tmp_path / each)
        text = (ROOT / name).read_text()
        assert old in text
        (tmp_path / name).write_text(text.replace(old, new, 1) if old else text)
        return python(tmp_path / ".ci" / "release.py", tag, **options)

    return run


def test_this_version_can_be_released(release):
    notes = release(f"v{PROJECT['version']}").stdout
    assert "### Added" in notes
    assert not re.search("^## ", notes, re.MULTILINE)


@pytest.mark.parametrize(("change", "complaint"), [
    ((), "the tag is v9.9.9, not v{}"),
    (("pyproject.toml", 'version = "{}"', 'version = "9.9.9"'), "section is {}, not 9.9.9"),
    (("CITATION.cff", "version: {}", "version: 9.9.9"), "CITATION.cff's version is 9.9.9, not {}"),
    (("CITATION.cff", "date-released: ", "date-released: 1"), "CITATION.cff's date-released is 1"),
    (("CHANGELOG.md", "## {} (", "## Unreleased\n\n## {} ("), "newest section is None, not {}"),
    (("CHANGELOG.md", "## {} (", "## 9.9.9 (2026-12-31)\n\n## {} ("), "newest section is empty"),
], ids=["tag", "version", "citation", "date", "unreleased", "empty"])  # fmt: skip
def test_what_does_not_agree_is_not_released(release, change, complaint):
    version = PROJECT["version"]
    tag = f"v{version}" if change else "v9.9.9"
    done = release(tag, *(part.format(version) for part in change), code=1)
    assert complaint.format(version) in done.stderr
    assert not done.stdout


# Addresses


def test_every_address_of_the_project_is_that_of_pyproject():
    urls = PROJECT["urls"]
    source, site = urls["Source"], urls["Documentation"]
    assert urls["Homepage"] == source
    assert urls["Issues"] == f"{source}/issues"
    assert urls["Changelog"] == f"{source}/blob/main/CHANGELOG.md"
    pattern = r"https://(?:github\.com/[\w.-]+/implicit-accel|[\w.-]+\.(?:github|readthedocs)\.io/)[^\s)>\"'`]*"
    folders = {".github": "yml", "conda": "yaml", "docs": "md", "accel": "py", "examples": "py"}
    paths = [each for ending in ("md", "cff", "toml") for each in ROOT.glob(f"*.{ending}")]
    for folder, ending in folders.items():
        paths += (ROOT / folder).rglob(f"*.{ending}")
    naming = set()
    for path in paths:
        for url in re.findall(pattern, path.read_text()):
            if "implicit-accel" in url:
                assert url.removesuffix(".git").startswith((source, site)), f"{path}: {url}"
                naming.add(path.relative_to(ROOT).as_posix())
    assert naming >= {"pyproject.toml", "CITATION.cff", "CONTRIBUTING.md", "SECURITY.md",
                      "conda/recipe.yaml", ".github/ISSUE_TEMPLATE/config.yml"}  # fmt: skip


# Workflows


def test_the_pythons_are_those_of_the_classifiers():
    oldest, newest = PYTHONS[0], PYTHONS[-1]
    tests = WORKFLOWS["tests"]["jobs"]["tests"]["strategy"]["matrix"]
    assert tests["python"] == PYTHONS
    others = {(each["system"], each["python"]) for each in tests["include"]}
    wheels = WORKFLOWS["wheels"]["jobs"]["install"]["strategy"]["matrix"]
    assert wheels["python"] == [oldest, newest]
    systems = {system for system, _ in others}
    assert others == {(system, version) for system in systems for version in wheels["python"]}
    assert systems | set(tests["system"]) == set(wheels["system"])
    (several,) = (step["with"]["python-version"] for step in steps(WORKFLOWS["everything"])
                  if "setup-python" in step.get("uses", ""))  # fmt: skip
    assert several.split() == PYTHONS[::-1]
    assert f"for version in {' '.join(PYTHONS)}; do" in (ROOT / ".ci" / "packaging").read_text()
    assert PROJECT["requires-python"] == f">={oldest}"
    assert RECIPE["context"]["python_min"] == oldest


def test_only_what_no_classifier_promises_may_fail():
    promised = any("Windows" in each for each in PROJECT["classifiers"])
    for workflow in WORKFLOWS.values():
        for job in workflow["jobs"].values():
            if "windows" in str(job.get("strategy")):
                assert ("continue-on-error" in job) is not promised
            else:
                assert "continue-on-error" not in job


def test_the_tests_run_by_the_readmes_command():
    command = readme_commands()[1].replace(".venv/bin/pip", ".venv/bin/python -m pip")
    _, *parts = command.replace(".venv/bin/", "").split(" && ")
    assert len(parts) == 2
    ran = runs({"jobs": {"tests": WORKFLOWS["tests"]["jobs"]["tests"]}})
    assert [shlex.split(part) for part in parts] == [ran[0], ran[-1]]


def test_what_workflows_run_is_there():
    typer = pytest.importorskip("typer")
    pytest.importorskip("rich")
    pytest.importorskip("matplotlib")
    from accel.cli import app

    group = typer.main.get_command(app.app)
    options = {one for each in group.params for one in each.opts}
    scripts, commands, extras = set(), set(), set()
    for words in (words for workflow in WORKFLOWS.values() for words in runs(workflow)):
        scripts |= {word for word in words if word.startswith(".ci/")}
        commands |= {words[1]} if words[0] == "accel" else set()
        extras |= {name for word in words for name in re.findall(r"\[(\w+)\]$", word)}
    assert scripts == {".ci/run", ".ci/docs", ".ci/contents.py", ".ci/release.py"}
    assert all((ROOT / script).is_file() for script in scripts)
    assert commands == {"info", "train", "--version"}
    assert commands <= {*group.commands, *options}
    assert extras == {"test", "dev", "docs", "cli"}
    assert extras <= {*PROJECT["optional-dependencies"]}
    called = {job["uses"] for workflow in WORKFLOWS.values()
              for job in workflow["jobs"].values() if "uses" in job}  # fmt: skip
    assert called == {"./.github/workflows/wheels.yml"}


def test_a_workflow_may_do_no_more_than_it_needs():
    writing = {("docs", "deploy"): {"pages": "write", "id-token": "write"},
               ("release", "pypi"): {"id-token": "write"},
               ("release", "github"): {"contents": "write"}}  # fmt: skip
    for name, workflow in WORKFLOWS.items():
        assert workflow["permissions"] == {}
        assert "pull_request_target" not in workflow[True]  # "on", which YAML 1.1 takes for this
        for job, what in workflow["jobs"].items():
            given = what["permissions"]
            assert given == writing.get((name, job), given and {"contents": "read"})
            assert "uses" in what or what["timeout-minutes"] <= 120
        for step in steps(workflow):
            if "checkout" in step.get("uses", ""):
                assert step["with"] == {"persist-credentials": False}


def test_actions_are_pinned_each_to_one_commit_beside_its_version():
    pins = {}
    for path in FILES:
        lines = re.findall(r"^ *(?:- )?uses: ([^.].*)$", path.read_text(), re.MULTILINE)
        for line in lines:
            action, commit, version = re.fullmatch(
                r"(\S+)@([0-9a-f]{40}) # (v[\d.]+)", line
            ).groups()
            assert pins.setdefault(action, (commit, version)) == (commit, version)
    assert {"actions/checkout", "actions/setup-python", "pypa/gh-action-pypi-publish"} <= set(pins)


def test_what_a_job_takes_an_earlier_one_has_left():
    def named(workflow, action):
        return {step["with"]["name"] for step in steps(workflow) if action in step.get("uses", "")}

    left = {name: named(WORKFLOWS[name], "upload-artifact") for name in ("wheels", "release")}
    assert left == {"wheels": {"dist"}, "release": {"notes"}}
    assert named(WORKFLOWS["wheels"], "download-artifact") == {"dist"}
    assert named(WORKFLOWS["release"], "download-artifact") == {"dist", "notes"}


# Hooks and the recipe


def test_hooks_have_the_versions_of_constraints():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    revisions = {each["repo"].rpartition("/")[2]: each.get("rev") for each in hooks}
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    assert f"ruff=={revisions['ruff-pre-commit'].removeprefix('v')}" in pins
    assert all(re.fullmatch(r"v?\d+\.\d+\.\d+", each) for name, each in revisions.items()
               if name != "local")  # fmt: skip
    (local,) = (each["hooks"] for each in hooks if each["repo"] == "local")
    needed = {Requirement(text).name for text in PROJECT["optional-dependencies"]["dev"]}
    assert {hook["entry"] for hook in local} <= needed


#: conda-forge's names of packages that it calls otherwise.
NAMES = {"matplotlib": "matplotlib-base", "torch": "pytorch", "dask": "dask-core"}


def needs(*texts):
    """Requirements of pyproject.toml in the words of a recipe."""
    found = map(Requirement, texts)
    return sorted(f"{NAMES.get(each.name, each.name)} {each.specifier}" for each in found)


def test_the_recipe_needs_what_pyproject_does():
    requirements, extras = RECIPE["requirements"], PROJECT["optional-dependencies"]
    interpreter, *others = requirements["run"]
    assert interpreter == "python >=${{ python_min }}"
    assert sorted(others) == needs(*PROJECT["dependencies"], *extras["cli"])
    assert {*extras["theory"], *extras["sklearn"]} <= {*extras["cli"]}
    limits = [text for name in ("parquet", "torch", "dask") for text in extras[name]]
    assert sorted(requirements["run_constraints"]) == needs(*limits)
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert requirements["host"] == ["python ${{ python_min }}.*", "pip", *needs(*build)]


def test_the_recipe_describes_the_package_as_pyproject_does():
    about, scripts = RECIPE["about"], PROJECT["scripts"]
    points = RECIPE["build"]["python"]["entry_points"]
    assert points == [f"{name} = {place}" for name, place in scripts.items()]
    assert RECIPE["context"]["name"] == PROJECT["name"]
    assert [about["summary"], about["license"]] == [PROJECT["description"], PROJECT["license"]]
    assert about["license_file"] == PROJECT["license-files"]
    assert about["repository"] == PROJECT["urls"]["Source"]
    assert about["documentation"] == PROJECT["urls"]["Documentation"]
