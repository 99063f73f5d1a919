"""The folder for patients' files, which only the server can read, and which ends with it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: folders of killed servers must be removed by hand
    fcntl = None

_PREFIX = "magms_serve_"


@contextmanager
def private_folder() -> Iterator[Path]:
    """Make a folder for temporary files; those of killed servers of this user are removed first."""
    parent = Path(tempfile.gettempdir())
    for other in parent.glob(f"{_PREFIX}*"):
        _remove_if_unused(other)
    folder, lock = Path(tempfile.mkdtemp(prefix=_PREFIX)), None
    try:
        if fcntl is not None:
            lock = os.open(folder, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _remove_if_unused(folder: Path) -> None:
    if fcntl is None or folder.is_symlink() or folder.lstat().st_uid != os.geteuid():
        return
    with suppress(OSError):  # another server uses it, or has just removed it
        lock = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)
