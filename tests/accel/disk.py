"""Disks that are full and folders that cannot be written to, for root as well."""

import contextlib
import os

import pytest

from ..children import run

resource = pytest.importorskip("resource")
NOBODY = 65534


@contextlib.contextmanager
def no_room(size=300):
    """No file can grow beyond so many bytes; as on a full disk, that is an OSError."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@contextlib.contextmanager
def small_disk(folder, size):
    """A disk of its own, of so many bytes."""
    try:
        run("mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder)
    except (OSError, AssertionError):
        pytest.skip("a disk can be mounted by root alone")
    try:
        yield
    finally:
        run("umount", folder)


@contextlib.contextmanager
def read_only(folder):
    """Nothing can be written in the folder; it can be read if the folders above can."""
    user = os.geteuid()
    folder.chmod(0o555)
    if user == 0:  # whom permissions do not stop
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
        folder.chmod(0o755)
