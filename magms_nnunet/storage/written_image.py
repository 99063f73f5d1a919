"""Checks an image after writing: SimpleITK does not notice a full disk."""

import errno
import gzip
import math
import os
import struct
from pathlib import Path

import numpy as np


def trivial_segmentation(labels: np.ndarray) -> str | None:
    """Return a warning where no voxel or every voxel of a segmentation, of any shape, is segmented."""
    if not labels.any():
        return "nothing is segmented: look at the images"
    if labels.all():
        return "every voxel is segmented: look at the images"
    return None


def check_written(path: Path) -> None:
    """Compare the length of a NIfTI file with its header, without decompressing it.

    Other formats are not checked, because their writers raise errors.

    Raises:
        OSError: the file is shorter.
    """
    if not path.name.endswith((".nii", ".nii.gz")):
        return
    compressed = path.name.endswith(".gz")
    try:
        with (gzip.open if compressed else open)(path, "rb") as file:
            header = file.read(348)
        order = "<" if header[:4] == struct.pack("<i", 348) else ">"
        axes, *shape = struct.unpack_from(f"{order}8h", header, 40)
        (bits,) = struct.unpack_from(f"{order}h", header, 72)
        (offset,) = struct.unpack_from(f"{order}f", header, 108)
        expected = int(offset) + math.prod(shape[:axes]) * bits // 8
        length = path.stat().st_size
        if compressed:  # the length before compression, modulo 2^32, ends the file (RFC 1952)
            with open(path, "rb") as file:
                file.seek(-4, os.SEEK_END)
                (length,) = struct.unpack("<I", file.read(4))
            expected %= 1 << 32
    except (OSError, EOFError, struct.error) as error:
        raise OSError(errno.EIO, f"{path.name} was not written completely ({error})") from error
    if length != expected:
        raise OSError(errno.EIO, f"{path.name} was not written completely ({length} of {expected} bytes)")
