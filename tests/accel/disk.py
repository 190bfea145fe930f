"""Full disks and folders without write permission, also for root."""

import contextlib
import os

import pytest

from ..children import run

resource = pytest.importorskip("resource")
NOBODY = 65534


@contextlib.contextmanager
def no_room(size=300):
    """Limit files to so many bytes: beyond that there is an OSError, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@contextlib.contextmanager
def small_disk(folder, size):
    """Mount a disk of so many bytes on the folder."""
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
    """Forbid writing in the folder; reading stays possible if the folders above allow it."""
    user = os.geteuid()
    folder.chmod(0o555)
    if user == 0:  # root, whom permissions do not bind
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
        folder.chmod(0o755)
