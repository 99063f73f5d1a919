import numpy as np
import pytest
import SimpleITK as sitk
from registration import motion

from magms_nnunet.images.registration import angle_degrees


def test_a_motion_has_the_size_that_is_asked_for():
    image = sitk.Image(40, 30, 20, sitk.sitkFloat32)
    transform = motion(image, 3.0, 4.0, np.random.default_rng(0))
    assert angle_degrees(transform) == pytest.approx(3.0)
    centre = np.array(image.TransformContinuousIndexToPhysicalPoint((19.5, 14.5, 9.5)))
    assert np.linalg.norm(np.array(transform.TransformPoint(centre.tolist())) - centre) == pytest.approx(4.0)
