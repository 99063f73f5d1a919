"""Slices of a small volume worked out by hand."""

import io

import numpy as np
import pytest
from PIL import Image

from magms_nnunet.serve import slices
from magms_nnunet.serve.job import Preview
from magms_nnunet.serve.problems import Problem

# (z, y, x) = (2, 2, 4), voxels of 2 x 1 x 1 mm; one labelled voxel at z = 1, y = 0, x = 3
GREY = np.arange(16, dtype=np.uint8).reshape(2, 2, 4)
LABELS = np.zeros((2, 2, 4), np.uint8)
LABELS[1, 0, 3] = 2
PREVIEW = Preview({"T1": GREY}, LABELS, (2.0, 1.0, 1.0))


def pixels(plane: str, index: int, opacity: float = 0.0) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(slices.draw(PREVIEW, plane, index, "T1", opacity))))


@pytest.mark.parametrize(
    ("plane", "index", "size", "corner"),
    [
        ("axial", 1, (256, 512), GREY[1, 0, 0]),  # y, x
        ("coronal", 0, (512, 512), GREY[1, 0, 0]),  # z upwards, x
        ("sagittal", 3, (512, 256), GREY[1, 0, 3]),  # z upwards, y
    ],
)
def test_size_is_in_millimetres_and_up_is_up(plane, index, size, corner):
    found = pixels(plane, index)
    assert found.shape == (*size, 3)
    assert found[0, 0].tolist() == [corner] * 3


def test_the_overlay_changes_labelled_pixels_only():
    plain, half, full = (pixels("axial", 1, opacity) for opacity in (0, 0.5, 1))
    changed = (plain != half).any(-1)
    assert changed[:128, 384:].all()
    assert changed.sum() == 128 * 128
    assert full[0, -1].tolist() == [0xE6, 0x9F, 0x00]  # the second colour, for label 2
    assert half[0, -1].tolist() == [round((int(GREY[1, 0, 3]) + c) / 2) for c in (0xE6, 0x9F, 0x00)]


def test_the_best_slices_hold_what_is_segmented():
    assert slices.shape(PREVIEW) == {"axial": 2, "coronal": 2, "sagittal": 4}
    assert slices.best_slices(PREVIEW) == {"axial": 1, "coronal": 0, "sagittal": 3}
    empty = Preview({"T1": GREY}, np.zeros_like(LABELS), (1, 1, 1))
    assert slices.best_slices(empty) == {"axial": 1, "coronal": 1, "sagittal": 2}


@pytest.mark.parametrize(("plane", "index", "modality"), [("axial", 2, "T1"), ("oblique", 0, "T1"), ("axial", 0, "T2")])
def test_what_is_not_there_is_a_problem(plane, index, modality):
    with pytest.raises(Problem) as caught:
        slices.draw(PREVIEW, plane, index, modality, 0.5)
    assert caught.value.status == 404
