"""Folders for nnU-Net in a temporary place, and small NIfTI files."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

AFFINE = np.array([[-1, 0, 0, 0], [0, -1, 0, 239], [0, 0, 2, 5], [0, 0, 0, 1]], float)
SHAPE = (4, 5, 6)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """nnUNet_raw, nnUNet_preprocessed and nnUNet_results as ``raw``, ``preprocessed`` and ``results`` in a folder."""
    for kind in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{kind}", str(tmp_path / "home" / kind))
    return tmp_path / "home"


def write(path: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    """Write ``(X, Y, Z)`` or ``(X, Y, Z, volumes)`` in its own type."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(voxels, affine).to_filename(path)
    return path


def voxels(path: Path) -> np.ndarray:
    """Voxels ``(X, Y, Z)``."""
    return np.asanyarray(nibabel.load(path).dataobj)


def image(value: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """An image that differs from those of other values."""
    return (np.arange(np.prod(shape)).reshape(shape) + 1000 * value).astype(np.int16)


def labels(*values: int) -> np.ndarray:
    """A segmentation that has these values."""
    return np.resize(np.array(values, np.uint8), SHAPE)


def files_in(folder: Path) -> list[str]:
    """All files below, hidden ones too, relative and sorted; none where it does not exist."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
