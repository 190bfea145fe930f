"""What ``pyproject.toml`` cannot say: how an editable installation finds ``accel.kernels``.

Wheels and sdists take that package from ``kernels/``, by the table ``package-dir``. For an editable
installation setuptools would make of such a table a hook in ``sys.meta_path``, which neither mypy
nor pyright follows. Here the link ``accel/kernels`` leads to the folder: then one line in a
``.pth`` file, the checkout's place, is all that Python and the type checkers need. Where there is
no link, the hook does: in an archive unpacked by a tool that knows none, or on Windows, where git
makes a small file of it unless it is told otherwise.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.editable_wheel import editable_wheel


class _ByPlace(editable_wheel):
    def finalize_options(self):
        if Path("accel", "kernels", "__init__.py").is_file():
            self.distribution.package_dir = {"": "."}
        super().finalize_options()


setup(cmdclass={"editable_wheel": _ByPlace})
