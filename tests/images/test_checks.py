from dataclasses import replace
from typing import ClassVar

import nibabel
import numpy as np
import pytest

from magms_nnunet.errors import CaseError, InputError
from magms_nnunet.images.cases import Case
from magms_nnunet.images.checks import InputChecks, check_case
from magms_nnunet.modalities import Modalities

BRATS = Modalities(("FLAIR", "T1", "T1c", "T2"))
STRICT = InputChecks()
RNG = np.random.default_rng(0)
NOISE = [RNG.normal(100, 20, (8, 9, 10)).astype(np.float32) for _ in range(4)]


@pytest.fixture
def case(tmp_path):
    """FLAIR and T1c that nothing is wrong with."""
    files = {channel: tmp_path / f"p1_{channel:04d}.nii.gz" for channel in (0, 2)}
    for channel, path in files.items():
        write(path, NOISE[channel])
    return Case("p1", files)


def write(path, array):
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)


def refusal(case, checks=STRICT):
    with pytest.raises(CaseError) as error:
        check_case(case, (0, 2), BRATS, checks)
    assert "\n" not in str(error.value)
    return error.value.message


def test_a_good_case_is_taken_as_it_is(case):
    checked = check_case(case, (0, 2), BRATS, STRICT)
    assert (checked.subset, checked.empty, checked.warnings) == ((0, 2), (), ())


@pytest.mark.parametrize(("value", "what"), [(0, "only zeros"), (-3, "only the value -3")])
def test_a_constant_image_is_refused_or_left_out(value, what, case):
    write(case.files[2], np.full((8, 9, 10), value, np.int16))
    assert f"p1_0002.nii.gz (T1c) holds {what}: " in refusal(case)
    checked = check_case(case, (0, 2), BRATS, replace(STRICT, treat_empty_as_missing=True))
    assert (checked.subset, checked.empty) == ((0,), (2,))
    assert checked.warnings == (f"p1_0002.nii.gz (T1c) holds {what}: predicted without T1c",)


def test_nothing_but_empty_images(case):
    for path in case.files.values():
        write(path, np.zeros((8, 9, 10), np.int16))
    message = refusal(case, replace(STRICT, treat_empty_as_missing=True))
    assert message.startswith("nothing is left to predict from: p1_0000.nii.gz (FLAIR) holds only zeros")


def test_an_image_of_nan_is_empty_when_nan_counts_as_zero(case):
    write(case.files[2], np.full((8, 9, 10), np.nan, np.float32))
    assert "holds 720 NaN or infinite voxels" in refusal(case)
    assert "holds only zeros" in refusal(case, replace(STRICT, nan_to_zero=True))


def test_nan_is_refused_or_counts_as_zero(case):
    array = NOISE[2].copy()
    array[0, 0, :2] = np.nan, np.inf
    write(case.files[2], array)
    assert "p1_0002.nii.gz (T1c) holds 2 NaN or infinite voxels: " in refusal(case)
    checked = check_case(case, (0, 2), BRATS, replace(STRICT, nan_to_zero=True))
    assert checked.subset == (0, 2)
    assert checked.warnings == ("p1_0002.nii.gz (T1c) holds 2 NaN or infinite voxels, which count as 0",)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_voxels_twice_are_found_whatever_type_they_are_stored_in(dtype, case):
    write(case.files[2], NOISE[0].astype(dtype))
    message = refusal(case)
    assert message.startswith("p1_0000.nii.gz (FLAIR) and p1_0002.nii.gz (T1c) are the same image: ")
    assert check_case(case, (0, 2), BRATS, replace(STRICT, allow_identical=True)).subset == (0, 2)


def test_one_voxel_makes_another_image(case):
    """Also where it is not one of those that are sampled."""
    large = RNG.normal(100, 20, (60, 60, 61)).astype(np.float32)
    write(case.files[0], large)
    large[1, 1, 1] += 1
    write(case.files[2], large)
    assert check_case(case, (0, 2), BRATS, STRICT).subset == (0, 2)


@pytest.mark.parametrize(
    ("array", "labels"),
    [
        (np.arange(720) % 4, 4),
        (np.arange(720) % 32 - 5.0, 32),
        (np.arange(720) % 33, None),
        (np.arange(720) % 4 + 0.5, None),
    ],
)
def test_few_whole_numbers_look_like_a_label_map(array, labels, case):
    write(case.files[2], array.reshape(8, 9, 10).astype(np.float32))
    warnings = check_case(case, (0, 2), BRATS, STRICT).warnings
    expected = f"p1_0002.nii.gz (T1c) holds {labels} different whole numbers only: is it a label map?"
    assert warnings == ((expected,) if labels else ())


@pytest.mark.parametrize("tolerance", [-1e-9, float("nan"), float("inf")])
def test_a_tolerance_that_makes_no_sense(tolerance):
    with pytest.raises(InputError, match=r"--geometry-tolerance must be 0 or more voxels, got"):
        InputChecks(geometry_tolerance=tolerance)


class Known:
    """An appearance that knows what is asked of it."""

    largest_ml: ClassVar = {2: 1700.0}

    def __init__(self, mistaken=None, strange=(), of_one=None, overfull=None):
        self.mistaken = lambda voxels: mistaken or {}
        self.unlike_all = lambda voxels: list(strange)
        self.all_resemble = lambda voxels: of_one
        self.overfull = lambda images: {channel: ml for channel, ml in (overfull or {}).items() if channel in images}


def test_an_image_with_skull_is_asked_about_unless_it_looks_like_none(case):
    expected = (
        "p1_0002.nii.gz (T1c) fills 4321 ml, no training image of T1c more than 1700 ml: are skull or air still in it? "
        "Prepare it as these were"
    )
    known = Known(overfull={2: 4321.4})
    assert check_case(case, (0, 2), BRATS, STRICT, appearance=known).warnings == (expected,)
    known = Known(strange=[2], overfull={2: 4321.4})
    assert len(check_case(case, (0, 2), BRATS, STRICT, appearance=known).warnings) == 1


def test_an_image_that_looks_like_none(case):
    warnings = check_case(case, (0, 2), BRATS, STRICT, appearance=Known(strange=[2])).warnings
    expected = "p1_0002.nii.gz (T1c) looks like none of FLAIR, T1, T1c, T2: is it of another organ or kind, or padded?"
    assert warnings == (expected,)


def test_numbers_of_patients_are_asked_for_once(case):
    known = Known(mistaken={0: 1}, strange=[2], of_one=1)
    warnings = check_case(case, (0, 2), BRATS, STRICT, appearance=known).warnings
    assert warnings == ("the images of 0000, 0002 all look like T1: are these the numbers of patients?",)
