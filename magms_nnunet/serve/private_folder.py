"""The folder for patients' files: readable by the server alone, and gone with it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: what a killed server left is removed by hand
    fcntl = None

_PREFIX = "magms_serve_"


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder in the system's folder for temporary files; what killed servers of this user left is removed first."""
    parent = Path(tempfile.gettempdir())
    for left in parent.glob(f"{_PREFIX}*"):
        _remove_if_nobody_has_it(left)
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


def _remove_if_nobody_has_it(folder: Path) -> None:
    if fcntl is None or folder.is_symlink() or folder.lstat().st_uid != os.geteuid():
        return
    with suppress(OSError):  # another server has it, or has just removed it
        lock = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)
