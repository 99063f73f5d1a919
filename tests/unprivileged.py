"""Folders that may not be read, also where the tests run as root, who may read everything."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def unreadable(folder: Path) -> Iterator[None]:
    """While the block runs, this process is a user who may not read ``folder``."""
    mode, root = folder.stat().st_mode, os.geteuid() == 0
    folder.chmod(0)
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(mode)


@contextmanager
def another_users(folder: Path) -> Iterator[None]:
    """While the block runs, ``folder`` and its files are those of another user than this process, who may read them."""
    root, modes = os.geteuid() == 0, {path: path.stat().st_mode for path in (folder, *folder.iterdir())}
    if root:
        os.seteuid(NOBODY)
    else:
        for path, mode in modes.items():
            path.chmod(mode & 0o7555)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        else:
            for path, mode in modes.items():
                path.chmod(mode)
