"""What ``pyproject.toml`` cannot say: editable installations, and the README as PyPI shows it.

Wheels and sdists take that package from ``kernels/``, by the table ``package-dir``. For an editable
installation setuptools would make of such a table a hook in ``sys.meta_path``, which neither mypy
nor pyright follows. Here the link ``accel/kernels`` leads to the folder: then one line in a
``.pth`` file, the checkout's place, is all that Python and the type checkers need. Where there is
no link, the hook does: in an archive unpacked by a tool that knows none, or on Windows, where git
makes a small file of it unless it is told otherwise.

The README's links and pictures lead to files of the repository. PyPI has none of these, so there
they lead to the repository as it is at the release.
"""

import re
import tomllib
from pathlib import Path

from setuptools import setup
from setuptools.command.editable_wheel import editable_wheel


class _ByPlace(editable_wheel):
    def finalize_options(self):
        if Path("accel", "kernels", "__init__.py").is_file():
            self.distribution.package_dir = {"": "."}
        super().finalize_options()


def _readme():
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    at = f"{project['urls']['Source']}/{{}}/v{project['version']}/{{}}".format
    return re.sub(
        r"(!?)(\[[^\]]*\])\((?!https?:)([^)]+)\)",
        lambda link: f"{link[1]}{link[2]}({at('raw' if link[1] else 'blob', link[3])})",
        Path("README.md").read_text(encoding="utf-8"),
    )


setup(
    cmdclass={"editable_wheel": _ByPlace},
    long_description=_readme(),
    long_description_content_type="text/markdown",
)
