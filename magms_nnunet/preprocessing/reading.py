"""Reads files with nnU-Net's readers, and turns their errors into ours."""

from collections.abc import Callable, Sequence

import numpy as np

from magms_nnunet.errors import CaseError
from magms_nnunet.images.grid import Grid


def read_voxels(read: Callable, files: str | list[str], case: str, label: str) -> tuple[np.ndarray, dict]:
    """Read voxels and properties with a method of one of nnU-Net's readers.

    Args:
        read: the method.
        files: argument of the method.
        case: name of the case, for messages.
        label: of the file, for messages.

    Raises:
        CaseError: the file cannot be read.
        MemoryError: the memory does not suffice.
        RuntimeError: the memory does not suffice for SimpleITK.
    """
    try:
        return read(files)
    except MemoryError:
        raise
    except Exception as error:
        if "can't allocate memory" in str(error):
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[
            -1
        ]  # SimpleITK begins with a line of its source
        raise CaseError(case, f"{label} cannot be read ({reason}): replace it") from error


def grid_of_reader(shape: Sequence[int], properties: dict) -> Grid:
    """Return the grid of an image by size and spacing, which all of nnU-Net's readers give, around a common centre.

    Images whose files share a grid share this one, too.

    Args:
        shape: of the voxels, ``(z, y, x)``.
        properties: of the image, by the reader.
    """
    size, spacing_mm = tuple(reversed(shape)), tuple(map(float, reversed(properties["spacing"])))
    corner_mm = tuple(-n * mm / 2 for n, mm in zip(size, spacing_mm, strict=True))
    return Grid(size, spacing_mm, corner_mm, tuple(np.eye(len(size)).ravel().tolist()))
