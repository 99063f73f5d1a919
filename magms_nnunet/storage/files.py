"""Files that survive a crash: a file under its final name is always complete."""

import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from magms_nnunet.errors import InputError

UNFINISHED = ".magms_"
"""The names of unfinished files and folders begin so."""

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_BYTES = 1 << 16  # a disk with less than this is full: a writer may fail before the very last block


def reserved_name(case: str) -> str | None:
    """Return the reason why results cannot have the name of this case; None: they can."""
    if not case.lower().startswith(UNFINISHED):
        return None
    return f"begins with {UNFINISHED} as unfinished files do, which the next run would remove: rename the case"


def is_hidden(path: Path) -> bool:
    """Return whether a name is the system's: ``._x.nii.gz`` (AppleDouble), ``.DS_Store``, ``__MACOSX``."""
    return path.name.startswith(".") or path.name == "__MACOSX"


def write_then_rename(path: str | Path, write: Callable[[str], object]) -> None:
    """Write a temporary file beside ``path``, flush it to the disk, then rename it to ``path``.

    Whenever the process or the machine stops, ``path`` holds either the old file or the new one. Several
    processes may write it at once: each has its own temporary name, and the last file stays.

    Args:
        path: the final name.
        write: called with the temporary name, in the same folder and with the same ending.

    Raises:
        InputError: the disk is full.
        Exception: whatever ``write`` raises; the temporary file is removed, and ``path`` keeps its content.
    """
    path = Path(path)
    temporary = path.with_name(
        f"{UNFINISHED}{os.urandom(8).hex()}{path.suffix}"
    )  # two hosts may have the same process number
    try:
        with report_full_disk(path):
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))  # never through a link
            write(str(temporary))
            publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Make an output folder, and check that a file can be written in it.

    Raises:
        InputError: the folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"cannot write to output folder {folder} ({reason(error, folder)}): choose another -o"
        ) from error


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb", opener=open_regular) as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def open_regular(path: str | Path, flags: int) -> int:
    """Open regular files only, as ``opener`` of :func:`open`: a pipe in place of a file would wait for ever.

    Raises:
        OSError: the path is something else, or cannot be opened.
    """
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "not a regular file", str(path))


def open_own(path: str | Path, flags: int) -> int:
    """Open regular files only and follow no link, as ``opener`` of :func:`open` for files that we write."""
    return open_regular(path, flags | _NO_LINK)


def is_link(path: Path) -> bool:
    """Return whether a path is a symbolic link, a pipe or a device."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def check_no_link(path: Path) -> None:
    """Check that ``path``, in a folder that others may write to, is a file, a folder, or free.

    Raises:
        InputError: the path is a link or a device.
    """
    if is_link(path):
        raise InputError(
            f"{path} is a symbolic link or a device, which is neither followed nor replaced: remove it, or choose "
            "another output folder"
        )


def make_folder(path: Path) -> None:
    """Make a folder, unless it exists, in one that others may write to.

    Raises:
        InputError: the path is a link or a file.
    """
    check_no_link(path)
    try:
        with report_full_disk(path):
            path.mkdir(exist_ok=True)
    except FileExistsError as error:
        raise InputError(f"{path} is no folder: move it away, or choose another output folder") from error


def publish(temporary: Path, path: Path) -> None:
    """Flush a complete file to the disk and give it its final name, on the same file system."""
    with open(temporary, "rb+", opener=open_own) as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
    if os.name == "posix":  # the rename must reach the disk, too, where the file system supports that
        folder = os.open(path.parent, os.O_RDONLY)
        with suppress(OSError):
            os.fsync(folder)
        os.close(folder)


def reason(error: OSError, folder: Path) -> str:
    """Return the reason why a file in ``folder`` cannot be written."""
    lacks = _lacks(folder) if error.errno in _FULL else None
    return error.strerror or str(error) if lacks is None else f"no space{lacks} left"


def _lacks(folder: Path) -> str | None:
    """Return the lacking resource of a full disk, for ``no space ... left``; empty for bytes. None: it is not full."""
    with suppress(OSError, AttributeError):  # Windows has none
        disk = os.statvfs(folder)
        if disk.f_files and not disk.f_favail:
            return " (inodes)"
    with suppress(OSError):
        if shutil.disk_usage(folder).free < _FULL_BYTES:
            return ""
    return None


@contextmanager
def report_full_disk(path: Path) -> Iterator[None]:
    """Report a full disk where that is the reason why ``path`` could not be written.

    Not every writer names the reason: the message of torch is about an unexpected position.

    Raises:
        InputError: the disk is full.
    """
    try:
        yield
    except Exception as error:
        lacks = _lacks(path.parent)
        if isinstance(error, InputError) or not (lacks is not None or getattr(error, "errno", None) in _FULL):
            raise
        before = ", the previous file is unchanged" if path.exists() else ""
        raise InputError(
            f"no space{lacks or ''} left on the disk of {path.parent}: {path.name} is not written{before}; free some, "
            "then continue"
        ) from error


def remove_unfinished(folder: Path, keep: str = "") -> None:
    """Remove unfinished files of killed processes; call it only where no other process can be writing in ``folder``.

    Files of another user that cannot be removed stay.

    Raises:
        InputError: one is a link or a device, which our processes never make.
    """
    unfinished = [path for path in folder.glob(f"{UNFINISHED}*") if path.name != keep]
    for path in unfinished:
        check_no_link(path)
    for path in unfinished:
        with suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def folder_error(kind: str, folder: Path) -> InputError:
    """Return the error for a path that should be a folder and is none; ``kind`` of folder is for the message."""
    if folder.exists():
        return InputError(f"{kind} folder {folder} is a file: give the folder that holds it")
    return InputError(f"{kind} folder {folder} does not exist")
