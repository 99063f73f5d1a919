"""What resampling would make nothing or everything of is refused in a line."""

import sys
import weakref

import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

from magms_nnunet.environment.tiny_model import CONFIGURATION, dataset_json, plans
from magms_nnunet.errors import CaseError
from magms_nnunet.images.cases import Case
from magms_nnunet.preprocessing import subset
from magms_nnunet.preprocessing.subset import preprocess_case


@pytest.fixture
def preprocess(tmp_path):
    """preprocess(array, spacing_mm) -> the case's data at the model's 1 mm; both in the order z, y, x."""

    def preprocess(array, spacing_mm):
        image = sitk.GetImageFromArray(array.astype(np.float32))
        image.SetSpacing(spacing_mm[::-1])
        path = tmp_path / "case_0000.nii.gz"
        sitk.WriteImage(image, str(path))
        return preprocess_case(Case("case", {0: path}), (0,), plans(1), CONFIGURATION, dataset_json(["T1"]))[0]

    return preprocess


def noise(*shape):
    return np.random.default_rng(0).normal(100, 20, shape)


def test_the_spacing_decides_on_the_shape(preprocess):
    assert preprocess(noise(6, 8, 10), (0.5, 1, 2)).shape == (1, 3, 8, 20)


def test_no_voxel_would_be_left(preprocess):
    with pytest.raises(
        CaseError, match=r"2x8x10 voxels of 0.125x1x1 mm would become 0x8x10 voxels of 1x1x1 mm, .* header"
    ):
        preprocess(noise(2, 8, 10), (0.125, 1, 1))


def test_no_voxel_would_be_left_of_what_is_not_zero(preprocess):
    array = noise(9, 8, 10)
    array[1:] = 0
    with pytest.raises(CaseError, match=r"1x8x10 voxels of 0.25x1x1 mm would become 0x8x10 voxels"):
        preprocess(array, (0.25, 1, 1))


def test_metres_taken_for_millimetres(preprocess):
    with pytest.raises(CaseError, match=r"6x8x10 voxels of 1000x1000x1000 mm would become 6000x8000x10000 voxels"):
        preprocess(noise(6, 8, 10), (1000, 1000, 1000))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 keeps the arguments of a call until it returns")
def test_the_images_do_not_stay_in_memory_beside_nnunets_copy(preprocess, monkeypatch):
    """At the peak, where nnU-Net normalises and resamples."""
    read, normalize, references, kept = subset._read, DefaultPreprocessor._normalize, [], []

    def reads(*arguments):
        images, properties = read(*arguments)
        references.append(weakref.ref(images))
        return images, properties

    def normalizes(self, *arguments):
        kept.extend(reference() is not None for reference in references)
        return normalize(self, *arguments)

    monkeypatch.setattr(subset, "_read", reads)
    monkeypatch.setattr(DefaultPreprocessor, "_normalize", normalizes)
    preprocess(noise(6, 8, 10), (1, 1, 1))
    assert kept == [False]
