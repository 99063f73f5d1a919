"""What a program may hand to Predictor.predict, and what it is told of anything else."""

import numpy as np
import pytest
import SimpleITK as sitk

from magms_nnunet.errors import InputError
from magms_nnunet.images.given_image import as_file
from magms_nnunet.inference.predictor import Predictor
from tests.faults.tiny import model  # noqa: F401 (a fixture)

VOXELS = np.arange(60).reshape(3, 4, 5)
SPACING_MM = (3.0, 2.0, 1.0)
KINDS = ["float16", "float32", "float64", "bool", "int8", "uint8", "int16", "uint16", "int32", "int64", ">f4", ">i2"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_array_of_any_numbers_becomes_a_file(kind, tmp_path):
    file = as_file((VOXELS.astype(kind), SPACING_MM), "the T1 image", tmp_path / "image.nii.gz")
    image = sitk.ReadImage(str(file))
    assert image.GetSpacing() == SPACING_MM[::-1]
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), VOXELS.astype(kind))


def test_an_array_need_not_be_contiguous(tmp_path):
    file = as_file((VOXELS.transpose(2, 0, 1)[::-1], SPACING_MM), "the T1 image", tmp_path / "image.nii.gz")
    read = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))
    np.testing.assert_array_equal(read, VOXELS.transpose(2, 0, 1)[::-1])


def test_a_path_is_taken_as_it_is(tmp_path):
    assert as_file(str(tmp_path / "a.nii.gz"), "the T1 image", tmp_path / "b") == tmp_path / "a.nii.gz"


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        (VOXELS, "is an array without spacing: give (array, spacing_mm)"),
        (None, "is a NoneType: give a file"),
        (7, "is a int: give a file"),
        ((VOXELS,), "is a tuple of 1: give (array, spacing_mm)"),
        ((VOXELS, SPACING_MM, SPACING_MM), "is a tuple of 3"),
        ((VOXELS, 1.0), "is no array with a spacing in mm"),
        ((VOXELS, (1, 1, "thick")), "is no array with a spacing in mm"),
        ((VOXELS, (1, 1)), "has the spacing (1, 1): give 3 sizes above 0 in mm"),
        ((VOXELS, (1, 0, 1)), "has the spacing (1, 0, 1): give 3 sizes"),
        ((VOXELS, (1, -1, 1)), "has the spacing (1, -1, 1): give 3 sizes"),
        ((VOXELS, (1, float("nan"), 1)), "has the spacing (1, nan, 1): give 3 sizes"),
        ((VOXELS[None], (1, 1, 1, 1)), "has the shape (1, 3, 4, 5): give an array of 2 or 3 axes"),
        ((VOXELS[:0], SPACING_MM), "has the shape (0, 4, 5)"),
        ((VOXELS.astype(str), SPACING_MM), "give whole or real numbers"),
        ((VOXELS.astype(object), SPACING_MM), "give whole or real numbers"),
        ((VOXELS.astype(np.longdouble), SPACING_MM), "give whole or real numbers"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_anything_else_is_said(image, problem, tmp_path):
    with pytest.raises(InputError) as error:
        as_file(image, "the T1 image", tmp_path / "image.nii.gz")
    assert str(error.value).startswith("the T1 image ")
    assert problem in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_what_the_models_format_cannot_hold_is_said(tmp_path):
    with pytest.raises(InputError, match=r"^the T1 image \(64-bit float\) cannot be written as \.png"):
        as_file((VOXELS[0] * 0.5, SPACING_MM[1:]), "the T1 image", tmp_path / "image.png")


@pytest.fixture(scope="module")
def predictor(model):  # noqa: F811
    return Predictor(model, device="cpu", mirroring=False)


def noise(seed: int, shape=(9, 11, 10)) -> tuple[np.ndarray, tuple[float, ...]]:
    return np.random.default_rng(seed).normal(100, 20, shape).astype(np.float32), (1.0, 1.5, 0.8)


def refusal(predictor, images) -> str:
    with pytest.raises(InputError) as error:
        predictor.predict(images)
    return str(error.value)


def test_images_in_memory_are_named_by_their_modality(predictor):
    said = refusal(predictor, {"T1": noise(1), "T2": noise(2, (9, 11, 12))})
    assert "the T2 image" in said
    assert "the T1 image" in said
    assert "image_000" not in said


def test_files_are_named_as_the_user_named_them(predictor, tmp_path):
    as_file(noise(1), "", tmp_path / "mine.nii.gz")
    said = refusal(predictor, {"T1": tmp_path / "mine.nii.gz", "T2": noise(2, (9, 11, 12))})
    assert "mine.nii.gz (T1)" in said


def test_a_folder_is_no_image(predictor, tmp_path, capfd):
    assert "is a folder: give the image file" in refusal(predictor, {"T1": tmp_path})
    assert "HDF5" not in capfd.readouterr().err


@pytest.mark.parametrize("images", [None, [], {}, "T1", np.zeros(3)], ids=str)
def test_images_that_are_no_dictionary(images, predictor):
    assert "give modality -> image, at least one of FLAIR, T1, T1c, T2" in refusal(predictor, images)


def test_a_channels_number_may_be_a_number(predictor):
    assert predictor.predict({2: noise(1)}).GetSize() == (10, 11, 9)
    assert "unknown modality '9'" in refusal(predictor, {9: noise(1)})


def test_an_array_with_an_affine_lies_where_nibabel_puts_it(tmp_path):
    import nibabel

    voxels = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    affine = np.array([[0, -1.5, 0, 10], [2, 0, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1.0]])
    written = nibabel.load(as_file((voxels, affine), "the T1 image", tmp_path / "image.nii.gz"))
    np.testing.assert_allclose(written.affine, affine)
    np.testing.assert_array_equal(written.get_fdata(dtype=np.float32), voxels)


@pytest.mark.parametrize(
    ("shape", "change", "message"),
    [
        ((4, 5), 0, "with an affine, give an array of 3 axes"),
        ((4, 5, 6), 0.5, "not at right angles"),
        ((4, 5, 6), np.nan, "not at right angles"),
    ],
)
def test_an_affine_that_no_image_can_have(shape, change, message, tmp_path):
    affine = np.eye(4)
    affine[0, 1] += change
    with pytest.raises(InputError, match=message):
        as_file((np.zeros(shape), affine), "the T1 image", tmp_path / "image.nii.gz")
