"""Files that survive a crash: what stands under its final name is always complete."""

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from magms_nnunet.errors import InputError

UNFINISHED = ".magms_"
"""What is not complete yet has a name that begins so."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_BYTES = 1 << 16  # what is left on a disk that is full: a writer may fail before the very last block


def write_then_rename(path: str | Path, write: Callable[[str], None]) -> None:
    """Have ``write`` write beside ``path``, flush that to the disk, then rename it to ``path``.

    Whenever the process or the machine stops, ``path`` holds either the old file or the new one. Of several processes
    that write it at once, each has a temporary name of its own, and the last one's file stays.

    Args:
        path: the final name.
        write: called with the temporary name, in the same folder and with the same ending.

    Raises:
        InputError: the disk is full.
        Whatever else ``write`` raises; in any case the temporary file is removed and ``path`` is as before.
    """
    path = Path(path)
    temporary = path.with_name(f"{UNFINISHED}{os.urandom(4).hex()}_{path.name}")  # a pid may be another host's, too
    try:
        with full_disk_is_said(path):
            write(str(temporary))
            publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Make an output folder, and a file in it for a moment.

    Raises:
        InputError: that cannot be.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"cannot write to output folder {folder} ({error.strerror}): choose another -o") from error


def sha256(path: Path) -> str:
    """Of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def publish(temporary: Path, path: Path) -> None:
    """Flush a complete file to the disk and give it its final name, on the same file system."""
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
    if os.name == "posix":  # the rename itself must reach the disk, too, where the file system can promise that
        folder = os.open(path.parent, os.O_RDONLY)
        with suppress(OSError):
            os.fsync(folder)
        os.close(folder)


@contextmanager
def full_disk_is_said(path: Path) -> Iterator[None]:
    """While ``path`` is written: say that the disk is full, where that is why writing failed.

    Not every writer says so itself: torch speaks of an unexpected position.

    Raises:
        InputError: the disk is full.
    """
    try:
        yield
    except Exception as error:
        full = getattr(error, "errno", None) in _FULL
        with suppress(OSError):
            full = full or shutil.disk_usage(path.parent).free < _FULL_BYTES
        if not full or isinstance(error, InputError):
            raise
        before = ", the file of before is as it was" if path.exists() else ""
        raise InputError(
            f"no space left on the disk of {path.parent}: {path.name} is not written{before}; free some, then continue"
        ) from error


def remove_unfinished(folder: Path, pattern: str = f"{UNFINISHED}*", keep: str = "") -> None:
    """Remove what a killed process left in ``folder``; only where no other process can be writing there."""
    for path in folder.glob(pattern):
        if path.name != keep:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
