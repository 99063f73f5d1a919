"""Files that survive a crash: what stands under its final name is always complete."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def write_then_rename(path: str | Path, write: Callable[[str], None]) -> None:
    """Have ``write`` write beside ``path``, flush that to the disk, then rename it to ``path``.

    Whenever the process or the machine stops, ``path`` holds either the old file or the new one.

    Args:
        path: the final name.
        write: called with the temporary name, in the same folder.

    Raises:
        Whatever ``write`` raises; the temporary file is removed and ``path`` is as before.
    """
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    try:
        write(str(temporary))
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # the rename itself must reach the disk, too, where the file system can promise that
        folder = os.open(path.parent, os.O_RDONLY)
        with suppress(OSError):
            os.fsync(folder)
        os.close(folder)
