"""One run at a time in an output folder, and in it a hidden folder for what is not complete yet."""

import json
import os
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from magms_nnunet.errors import InputError
from magms_nnunet.files import UNFINISHED, full_disk_is_said, remove_unfinished

try:
    import fcntl
except ImportError:  # Windows has no flock: runs are not kept apart there
    fcntl = None

_LOCK = "lock"


@contextmanager
def locked_output(output: Path, part: int = 0, parts: int = 1) -> Iterator[Path]:
    """Keep other runs out of ``output``, but for the other parts of the same split (``-num_parts``).

    The lock is an flock, which ends with the process that holds it, however that ends. What a killed run left is
    removed. File systems without flock keep no run out.

    Args:
        output: existing folder.
        part: of ``parts``, from 0.

    Yields:
        The hidden folder, which belongs to this run alone and is removed at the end.

    Raises:
        InputError: another run is writing to ``output``.
    """
    mine = output / f"{UNFINISHED}{part}_of_{parts}"
    with full_disk_is_said(mine):
        lock = _lock(mine, output)
    try:
        for other in output.glob(f"{UNFINISHED}*_of_*"):
            found = re.fullmatch(rf"{re.escape(UNFINISHED)}\d+_of_(\d+)", other.name)
            if found and int(found[1]) != parts:  # a part of another split would write some of the same cases
                os.close(_lock(other, output))
                shutil.rmtree(other, ignore_errors=True)
        remove_unfinished(mine, "*", keep=_LOCK)
        if parts == 1:
            remove_unfinished(output, keep=mine.name)
        yield mine
    finally:
        shutil.rmtree(mine, ignore_errors=True)
        os.close(lock)
        with suppress(OSError):
            mine.rmdir()  # network file systems keep a file that is removed while it is open


def _lock(folder: Path, output: Path) -> int:
    """Make ``folder`` and lock it; a file descriptor that holds the lock until it is closed."""
    path = folder / _LOCK
    while True:
        try:
            folder.mkdir(exist_ok=True)
            lock = os.open(path, os.O_RDWR | os.O_CREAT)
        except (FileNotFoundError, FileExistsError) as error:
            if output.is_dir() and not folder.is_file() and not folder.is_symlink():
                continue  # whoever had it is just removing it
            raise InputError(
                f"cannot write to {folder} ({error.strerror}): remove it, or take another folder"
            ) from error
        try:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = _read(path)
            dead = _is_dead(owner)  # processes that it forked may outlive it, and they hold the lock as well
            if dead:
                _remove(path, lock, output)
            os.close(lock)
            if dead:
                continue
            raise InputError(
                f"another run is writing to {output} (process {owner.get('process')} on {owner.get('host')}, "
                f"{owner.get('command')}): wait for its end, or use another folder"
            ) from None
        except OSError:  # this file system has no locks
            pass
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), os.stat(path)):
                with suppress(OSError):  # on a full disk nobody learns who it is
                    os.ftruncate(lock, 0)
                    os.write(lock, json.dumps(_this_process()).encode())
                return lock
        os.close(lock)  # the file has been removed since it was opened


def _remove(path: Path, lock: int, output: Path) -> None:
    """Remove a dead owner's file, unless it has gone already and another run's has taken its place."""
    guard = os.open(output, os.O_RDONLY)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)  # of those that found it dead one at a time
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), os.stat(path)):
                path.unlink()
    finally:
        os.close(guard)


def _this_process() -> dict:
    """Who holds the lock."""
    command = Path(sys.argv[0]).name
    return {"command": command, "process": os.getpid(), "host": socket.gethostname(), "namespace": _namespace()}


def _namespace() -> str | None:
    """Within which process numbers count: containers on one host have their own."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):  # its owner is just writing it, or gone
        return {}


def _is_dead(owner: dict) -> bool:
    """Whether it was a process of this host that has ended."""
    if (owner.get("host"), owner.get("namespace")) != (socket.gethostname(), _namespace()):
        return False
    try:
        os.kill(owner["process"], 0)
    except OSError as error:
        return isinstance(error, ProcessLookupError)  # not where it is another user's
    return False
