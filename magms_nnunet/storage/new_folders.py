"""Several new folders that appear complete, all or none of them, and may replace older ones."""

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from magms_nnunet.errors import InputError, InputWarning


@contextmanager
def new_folders(names: Sequence[str], home: Path, prefix: str, overwrite: bool) -> Iterator[Path]:
    """Yield a folder, hidden in ``home``, to make ``names`` in; when the block ends well, they are moved to ``home``.

    However the block ends, signals included, all older folders are in their places, or all are replaced. A folder that
    cannot be moved back stays in the hidden folder.

    Args:
        names: of the folders, relative to ``home``.
        home: existing, and on one file system with its folders.
        prefix: of the hidden folder's name. Only a killed process leaves one; it may hold older folders.
        overwrite: whether to replace folders of these names; otherwise one that appears meanwhile stays.

    Raises:
        InputError: a name was taken while the block ran.
        Exception: whatever the block raises; the older folders are then in their places.

    Warns:
        InputWarning: an older folder could not be moved back; the message gives its place.
    """
    hidden = Path(tempfile.mkdtemp(prefix=prefix, dir=home))
    new, old = hidden / "new", hidden / "old"
    try:
        new.mkdir()
        yield new
        _move(names, new, home, old, overwrite)
    finally:
        kept = [old / name for name in names if os.path.lexists(old / name)]
        for path in kept:
            warnings.warn(
                f"{home / path.relative_to(old)} could not be put back and lies in {path}: move it back",
                InputWarning,
                stacklevel=3,
            )
        if not kept:
            shutil.rmtree(hidden, ignore_errors=True)


def _move(names: Sequence[str], new: Path, home: Path, old: Path, overwrite: bool) -> None:
    """Rename each folder to its place, and an older one there to ``old``; rename ``old`` when all are done."""
    replaced = old.with_name("replaced")
    try:
        old.mkdir()
        for name in names:
            target = home / name
            target.parent.mkdir(exist_ok=True)
            if overwrite and os.path.lexists(target):
                (old / name).parent.mkdir(exist_ok=True)
                os.rename(target, old / name)
            _move_one(new / name, target)
        os.rename(old, replaced)
    except (
        BaseException
    ):  # a signal may come between any two lines, so the folders themselves tell how far the move got
        if not replaced.exists():
            _put_back(names, new, home, old)
        raise


def _move_one(folder: Path, target: Path) -> None:
    try:
        os.rename(folder, target)  # fails where the target exists
    except OSError as error:
        if not os.path.lexists(target):
            raise
        raise InputError(
            f"{target} has appeared meanwhile and is left as it is: move it away, or replace it with --overwrite"
        ) from error


def _put_back(names: Sequence[str], new: Path, home: Path, old: Path) -> None:
    """Undo a move as far as possible."""
    for name in reversed(names):
        with suppress(OSError):
            if not (new / name).exists():
                os.rename(home / name, new / name)
            if os.path.lexists(old / name):
                os.rename(old / name, home / name)
