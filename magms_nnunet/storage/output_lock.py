"""A lock that keeps other runs out of an output folder, and a hidden folder in it for unfinished files.

The lock is an flock on a file in the hidden folder. It ends with the process that holds it, however that process ends,
unless the process has forked others, which hold the lock as well; the owner that is named in the file tells them apart.
(The package filelock takes the same flock: after a killed training its augmenting processes would hold it.)

Other users may write to the output folder. So each run makes a new hidden folder, no link is followed, and of the
folders of other runs only the lock is read.
"""

import itertools
import json
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from magms_nnunet.errors import InputError, one_line
from magms_nnunet.storage.files import UNFINISHED, check_no_link, open_own, remove_unfinished, report_full_disk

try:
    import fcntl
    import pwd
except ImportError:  # Windows has no flock: runs are not kept apart there
    fcntl = None

_LOCK = "lock"
_HIDDEN = re.compile(rf"{re.escape(UNFINISHED)}(?P<part>\d+)_of_(?P<parts>\d+)(_\d+)?", re.ASCII)
_MOST_BYTES = 4096  # of the description of an owner
_START_S = 10.0  # a start takes milliseconds


@contextmanager
def locked_output(output: Path, part: int = 0, parts: int = 1) -> Iterator[Path]:
    """Keep other runs out of ``output``, except other parts of the same split (``-num_parts``).

    The unfinished files of a killed run are removed; those of another user that cannot be removed stay. File systems
    without flock keep no run out.

    Args:
        output: existing folder.
        part: number of this part, from 0.
        parts: number of parts.

    Yields:
        The hidden folder, which belongs to this run alone and is removed at the end.

    Raises:
        InputError: another run is writing to ``output``, or a link has the name of an unfinished file.
    """
    with ExitStack() as stack:
        with _one_start_at_a_time(output):
            for path in output.glob(f"{UNFINISHED}*"):
                check_no_link(path)
            for left in _hidden_folders(output).keys() - writing(output).keys():
                shutil.rmtree(left, ignore_errors=True)
            own = stack.enter_context(_hidden_folder(output, f"{UNFINISHED}{part}_of_{parts}"))
            folders = _hidden_folders(output)  # before their owners are asked, for a run may end in between
            for other, owner in writing(output).items():
                its_part, its_parts = folders.get(other, (part, parts))
                if other != own and (its_parts != parts or its_part == part):  # it writes some of the same cases
                    raise InputError(
                        f"another run is writing to {output} ({owner}): wait for its end, or use another folder"
                    )
            if parts == 1:
                remove_unfinished(output, keep=own.name)
        yield own


def writing(output: Path) -> dict[Path, str]:
    """Return the hidden folders of the runs that are writing to ``output``, and the owner of each."""
    owners = {folder: _owner(folder) for folder in _hidden_folders(output)}
    return {folder: owner for folder, owner in owners.items() if owner is not None}


def _hidden_folders(output: Path) -> dict[Path, tuple[int, int]]:
    """Return hidden folder -> part and number of parts."""
    found = {path: _HIDDEN.fullmatch(path.name) for path in output.glob(f"{UNFINISHED}*_of_*")}
    return {path: (int(name["part"]), int(name["parts"])) for path, name in found.items() if name and path.is_dir()}


@contextmanager
def _one_start_at_a_time(output: Path) -> Iterator[None]:
    """Let runs that start together see one another; where folders cannot be locked, all of them may be refused."""
    if fcntl is None:
        yield
        return
    guard, end = os.open(output, os.O_RDONLY), time.monotonic() + _START_S
    try:
        while not _locks(guard, fcntl.LOCK_EX) and time.monotonic() < end:
            time.sleep(0.002)
        yield
    finally:
        os.close(guard)


@contextmanager
def _hidden_folder(output: Path, name: str) -> Iterator[Path]:
    """Make a folder called ``name``, or ``name_1`` and so on where that is taken, locked as soon as it is seen."""
    folder, lock = output / f"{UNFINISHED}{os.urandom(8).hex()}", None
    try:
        with report_full_disk(output / name):
            folder.mkdir()
            if fcntl is not None:
                lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
                _locks(lock, fcntl.LOCK_EX)
                with suppress(OSError):  # on a full disk the owner stays unnamed
                    os.write(lock, json.dumps(_this_process()).encode())
            for number in itertools.count():
                made, folder = folder, output / (f"{name}_{number}" if number else name)
                try:
                    os.rename(made, folder)
                    break
                except OSError:
                    folder, taken = made, folder
                    if not os.path.lexists(taken):
                        raise
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)
        with suppress(OSError):
            folder.rmdir()  # network file systems keep a file that is removed while it is open


def _locks(descriptor: int, kind: int) -> bool:
    """Lock an open file or folder, unless another process has it; True as well where the file system has no locks."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _owner(folder: Path) -> str | None:
    """Return the owner of a hidden folder; None: its process has ended."""
    if fcntl is None:
        return None
    try:
        lock = open_own(folder / _LOCK, os.O_RDONLY)
    except PermissionError:
        return f"perhaps: its lock {folder / _LOCK} belongs to user {_user(folder)}, and only that user may look at it"
    except OSError:  # there is none, or a link or a device
        return None
    try:
        if _locks(lock, fcntl.LOCK_SH):  # shared, because readers need not exclude one another
            return None
        try:
            owner = json.loads(os.read(lock, _MOST_BYTES))
        except (ValueError, RecursionError):  # the disk was full when it wrote it
            owner = None
        if isinstance(owner, dict) and _has_ended(owner):
            return None
        description = owner if isinstance(owner, dict) else {}
        process, host, command = (one_line(description.get(key)) for key in ("process", "host", "command"))
        user = "" if os.fstat(lock).st_uid == os.geteuid() else f", user {_user(folder)}"
        return f"process {process} on {host}, {command}{user}"
    finally:
        os.close(lock)


def _user(folder: Path) -> str:
    number = folder.lstat().st_uid
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _this_process() -> dict:
    """Describe this process as the owner of a lock."""
    command = Path(sys.argv[0]).name
    return {"command": command, "process": os.getpid(), "host": socket.gethostname(), "namespace": _namespace()}


def _namespace() -> str | None:
    """Return the name space of process numbers: containers on one host have their own."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def _has_ended(owner: dict) -> bool:
    """Return whether the owner was a process of this host that has ended; its forked processes may hold the lock."""
    process = owner.get("process")
    if (owner.get("host"), owner.get("namespace")) != (socket.gethostname(), _namespace()):
        return False
    if type(process) is not int or process <= 0:
        return False
    try:
        os.kill(process, 0)
    except (OSError, OverflowError) as error:
        return isinstance(error, ProcessLookupError)  # not where it is another user's
    return False
