"""nnU-Net's readers, each of which has errors of its own."""

from collections.abc import Callable, Sequence

import numpy as np

from magms_nnunet.errors import CaseError
from magms_nnunet.images.grid import Grid


def read_voxels(read: Callable, files: str | list[str], case: str, label: str) -> tuple[np.ndarray, dict]:
    """Voxels and properties, by a method of one of nnU-Net's readers.

    Args:
        read: the method.
        files: what the method takes.
        case: name of the case, for messages.
        label: of the file, for messages.

    Raises:
        CaseError: the file cannot be read.
        MemoryError, RuntimeError: there is no memory for it; SimpleITK says that in its own way.
    """
    try:
        return read(files)
    except MemoryError:
        raise
    except Exception as error:
        if "can't allocate memory" in str(error):
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]  # SimpleITK begins with its own place
        raise CaseError(case, f"{label} cannot be read ({reason}): replace it") from error


def grid_of_reader(shape: Sequence[int], properties: dict) -> Grid:
    """Return the size and the spacing of an image, which is what all of nnU-Net's readers give, around one centre.

    Images that share a grid by their files then share one here, too.

    Args:
        shape: of the voxels, ``(z, y, x)``.
        properties: of the image, by the reader.
    """
    size, spacing_mm = tuple(reversed(shape)), tuple(map(float, reversed(properties["spacing"])))
    corner_mm = tuple(-n * mm / 2 for n, mm in zip(size, spacing_mm, strict=True))
    return Grid(size, spacing_mm, corner_mm, tuple(np.eye(len(size)).ravel().tolist()))
