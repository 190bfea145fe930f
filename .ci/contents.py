"""Compare what an sdist and a wheel hold with the checkout: ``contents.py SDIST WHEEL``."""

import re
import sys
import tarfile
import zipfile
from pathlib import Path

PACKAGES = {"accel": "accel", "kernels": "accel/kernels"}  # folder of the checkout: of the wheel
BESIDE = ["tests", "benchmarks", "examples", "docs"]
LICENSES = ["LICENSE", "accel/_live/page/vendor/uplot/LICENSE"]
METADATA = ["METADATA", "WHEEL", "RECORD", "entry_points.txt", "top_level.txt"]
METADATA += [f"licenses/{name}" for name in LICENSES]


def files(folder):
    """All files under a folder, without what running it leaves there."""
    for path in Path(folder).rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.as_posix()


def compare(archive, names, expected):
    """Complain about every file that is missing or not expected."""
    lines = [f"{archive}: {name} is missing" for name in sorted(expected - names)]
    lines += [f"{archive}: {name} does not belong there" for name in sorted(names - expected)]
    return lines


def main():
    """Exit with a list of complaints, or quietly."""
    sdist, wheel = map(Path, sys.argv[1:])
    root = sdist.name.removesuffix(".tar.gz")
    with tarfile.open(sdist) as archive:
        files_within = (member.name.split("/", 1)[1] for member in archive if member.isfile())
        names = {name for name in files_within if ".egg-info/" not in name}
    expected = {name for folder in [*PACKAGES, *BESIDE] for name in files(folder)}
    expected = {name for name in expected if not name.startswith("benchmarks/report/")}
    expected |= {"pyproject.toml", "MANIFEST.in", "setup.py", "setup.cfg", "PKG-INFO"}
    expected |= {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"}
    expected |= {"LICENSE", "CITATION.cff", "constraints.txt"}
    lines = compare(sdist.name, names, expected)

    expected = {f"{root}.dist-info/{name}" for name in METADATA} | {"accel/py.typed"}
    for folder, package in PACKAGES.items():
        modules = (name for name in files(folder) if name.endswith(".py"))
        expected |= {package + name.removeprefix(folder) for name in modules}
    expected |= {*files("accel/_live/page")}
    with zipfile.ZipFile(wheel) as archive:
        lines += compare(wheel.name, set(archive.namelist()), expected)
        shown = archive.read(f"{root}.dist-info/METADATA").decode()
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", shown)
    lines += [f"{wheel.name}: PyPI has no {link}, to which its README leads" for link in links]
    sys.exit("\n".join(lines) or None)


main()
