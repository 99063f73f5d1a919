"""Known motions are found again; what moves too far or does not improve is refused."""

import numpy as np
import pytest
import SimpleITK as sitk

from magms_nnunet.errors import InputError
from magms_nnunet.images import registration
from magms_nnunet.images.registration import register

SIZE = (40, 44, 36)


def head(inverted=False):
    """A smooth, lopsided object; ``inverted``: as another sequence shows it."""
    rng = np.random.default_rng(0)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SIZE[::-1]), indexing="ij")
    inside = (z / 0.8) ** 2 + (y / 0.7) ** 2 + (x / 0.6) ** 2 < 1
    image = 100 * inside + 80 * ((z - 0.2) ** 2 + (y - 0.3) ** 2 + (x + 0.1) ** 2 < 0.06)
    image = image + 60 * ((z + 0.3) ** 2 + (y + 0.2) ** 2 + (x - 0.25) ** 2 < 0.05)
    image = np.where(inside, 250 - image if inverted else image, 0) + rng.normal(0, 2, inside.shape)
    made = sitk.GetImageFromArray(image.astype(np.float32))
    made.SetSpacing((2.0, 2.0, 2.0))
    return sitk.SmoothingRecursiveGaussian(made, 2.0)


def moved(image, degrees, mm):
    """The image as if the patient had moved, and the transform that undoes it."""
    motion = sitk.Euler3DTransform()
    motion.SetCenter(image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in SIZE]))
    motion.SetRotation(*np.radians(degrees))
    motion.SetTranslation(mm)
    return sitk.Resample(image, image, motion, sitk.sitkLinear, 0.0), motion.GetInverse()


def error_mm(found, undo, image):
    """The target registration error: the largest distance over points of the head."""
    points = [image.TransformIndexToPhysicalPoint(index) for index in ((10, 10, 10), (20, 30, 18), (30, 20, 25))]
    return max(np.linalg.norm(np.subtract(found.TransformPoint(p), undo.TransformPoint(p))) for p in points)


def test_a_known_motion_is_found_in_another_contrast():
    fixed = head()
    moving, undo = moved(head(inverted=True), (4, -3, 5), (5.0, -4.0, 3.0))
    found = register(fixed, moving, "the T1 image")
    assert error_mm(found.transform, undo, fixed) < 0.5  # a quarter of a voxel
    assert found.report["mutual_information_after"] > found.report["mutual_information_before"]
    assert 3 < found.report["moved_mm"] < 15
    assert found.report["turned_degrees"] == pytest.approx(7, abs=1.5)


def test_images_in_place_stay_there():
    found = register(head(), head(inverted=True), "the T1 image")
    assert found.report["moved_mm"] < 0.5


def test_more_than_the_bounds_is_refused(monkeypatch):
    monkeypatch.setattr(registration, "MOST_MM", 1.0)
    moving, _ = moved(head(inverted=True), (4, -3, 5), (5.0, -4.0, 3.0))
    with pytest.raises(InputError, match=r"moves the T1 image by up to .* more than 1 mm or 20 degrees: look at"):
        register(head(), moving, "the T1 image")


def test_images_that_do_not_overlap_are_refused():
    far = head()
    far.SetOrigin((1000.0, 0.0, 0.0))
    with pytest.raises(InputError, match="the T1 image cannot be registered"):
        register(head(), far, "the T1 image")


def test_no_improvement_is_refused(monkeypatch):
    values = iter([-0.5, -0.4])
    monkeypatch.setattr(registration, "_value", lambda *images: next(values))
    with pytest.raises(InputError, match="does not improve the match: leave out --register"):
        register(head(), head(inverted=True), "the T1 image")
