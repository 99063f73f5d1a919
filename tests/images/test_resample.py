"""One grid for all images of a patient."""

import numpy as np
import pytest
import SimpleITK as sitk

from magms_nnunet.errors import InputError
from magms_nnunet.images.resample import choose_grid, is_on_grid, resample
from magms_nnunet.modalities import Modalities

M = Modalities(("FLAIR", "T1", "T1c"))


def ramp(size, spacing, origin=(0.0, 0.0, 0.0), direction=None):
    """An image that holds 2 x + 3 y + 5 z at the position (x, y, z) in mm: linear interpolation is exact."""
    image = sitk.Image(size, sitk.sitkFloat32)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction or np.eye(3).ravel().tolist())
    array = np.empty(size[::-1], np.float32)
    for z, y, x in np.ndindex(array.shape):
        array[z, y, x] = np.dot(image.TransformIndexToPhysicalPoint((x, y, z)), (2, 3, 5))
    made = sitk.GetImageFromArray(array)
    made.CopyInformation(image)
    return made


THICK = ramp((20, 20, 6), (1.0, 1.0, 5.0))
FINE = ramp((24, 22, 30), (0.8, 0.9, 1.0), (-2.0, -1.0, -2.0))
TURNED = ramp((20, 20, 20), (1.0, 1.0, 1.0), (19.0, 0.0, 0.0), (-1, 0, 0, 0, 1, 0, 0, 0, 1))


@pytest.mark.parametrize("image", [THICK, TURNED], ids=["thick", "turned"])
def test_voxels_keep_their_positions(image):
    found = sitk.GetArrayFromImage(resample(image, FINE))
    inside = np.empty(found.shape, bool)  # between centres of voxels; beyond them values are those of the border
    for z, y, x in np.ndindex(found.shape):
        index = image.TransformPhysicalPointToContinuousIndex(FINE.TransformIndexToPhysicalPoint((x, y, z)))
        inside[z, y, x] = all(0 <= at <= n - 1 for at, n in zip(index, image.GetSize(), strict=True))
    assert 0.2 < inside.mean() < 0.9
    np.testing.assert_allclose(found[inside], sitk.GetArrayFromImage(FINE)[inside], atol=1e-3)
    assert found[0, 0, 0] == 0  # where there is no voxel


def test_the_grid_that_is_asked_for():
    images = {0: THICK, 2: FINE}
    assert choose_grid(images, "F", M) == (0, THICK, True)
    assert choose_grid(images, "finest", M) == (2, FINE, True)
    channel, grid, is_own = choose_grid(images, "isotropic", M)
    assert (channel, is_own) == (2, False)
    assert grid.GetSpacing() == pytest.approx((0.8, 0.8, 0.8))
    assert grid.GetSize() == (24, round(22 * 0.9 / 0.8), round(30 / 0.8))
    corner = grid.TransformContinuousIndexToPhysicalPoint([-0.5] * 3)
    assert corner == pytest.approx(FINE.TransformContinuousIndexToPhysicalPoint([-0.5] * 3))
    with pytest.raises(InputError, match=r"--grid T1: there is no T1, there is FLAIR\+T1c"):
        choose_grid(images, "T1", M)
    with pytest.raises(InputError, match="unknown modality"):
        choose_grid(images, "coarsest", M)


def test_what_lies_on_the_grid_stays_as_it_is():
    assert is_on_grid(FINE, FINE)
    assert not is_on_grid(FINE, THICK)
    moved = sitk.Image(FINE)
    moved.SetOrigin((-2.0, -1.0, -1.9))
    assert not is_on_grid(moved, FINE)
