"""Strategies: any number of modalities, any subset of them, patients of any shape, spacing and orientation."""

from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
import SimpleITK as sitk
from hypothesis import strategies as st

NAMES = ("FLAIR", "T1", "T1c", "T2", "PET", "CT", "ADC", "SWI")
CLASSES = 3

# The 48 ways in which voxel axes can run along the patient's, as direction cosines.
AXES = [
    tuple(float(value) for row in np.eye(3)[list(order)] * np.array(signs)[:, None] for value in row)
    for order in permutations(range(3))
    for signs in product((-1, 1), repeat=3)
]


@dataclass(frozen=True)
class Patient:
    """Images of noise on one grid.

    Attributes:
        modalities: M of the model; ``channels``: what this patient has, in the order in which it is given.
        size: ``(x, y, z)``; ``spacing_mm``, ``origin_mm`` and ``direction`` in the same order.
        seed: of the voxels.
    """

    modalities: int
    channels: tuple[int, ...]
    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    direction: tuple[float, ...]
    seed: int

    def image(self, channel: int) -> sitk.Image:
        """The same voxels for the same patient and channel."""
        rng = np.random.default_rng((self.seed, channel))
        image = sitk.GetImageFromArray(rng.normal(100, 20, self.size[::-1]).astype(np.float32))
        image.SetSpacing(self.spacing_mm)
        image.SetOrigin(self.origin_mm)
        image.SetDirection(self.direction)
        return image

    def images(self) -> dict[str, sitk.Image]:
        """Name -> image, in this patient's order."""
        return {NAMES[channel]: self.image(channel) for channel in self.channels}


def rotations() -> st.SearchStrategy[tuple[float, ...]]:
    """Direction cosines of any rotation, from a quaternion."""

    def matrix(values) -> tuple[float, ...]:
        w, x, y, z = np.array(values) / np.linalg.norm(values)
        return (
            *(1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
            *(2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
            *(2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
        )

    part = st.floats(-1, 1)
    return st.tuples(part, part, part, part).filter(lambda q: np.linalg.norm(q) > 0.1).map(matrix)


def channels(modalities: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Any subset in any order."""
    return st.lists(st.integers(0, modalities - 1), min_size=1, unique=True).map(tuple)


@st.composite
def patients(draw, most_modalities: int = len(NAMES)) -> Patient:
    """Odd shapes: thin, flat, smaller and larger than the patch of 16 voxels; a single slice is refused."""
    modalities = draw(st.integers(1, most_modalities))
    length, spacing_mm = st.integers(2, 19), st.floats(0.5, 1.6)
    return Patient(
        modalities,
        draw(channels(modalities)),
        draw(st.tuples(length, length, length)),
        draw(st.tuples(spacing_mm, spacing_mm, spacing_mm)),
        draw(st.tuples(*[st.floats(-500, 500)] * 3)),
        draw(st.sampled_from(AXES) | rotations()),
        draw(st.integers(0, 2**32 - 1)),
    )
