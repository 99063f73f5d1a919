import gzip

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from magms_nnunet.datasets.nifti import check_volumes, read_volume
from magms_nnunet.errors import CaseError
from tests.datasets.nnunet_home import AFFINE, image, write


def write_analyze(folder, name, array, spacing_mm=(1.0, 2.0, 3.0)):
    analyze = nibabel.AnalyzeImage(array, None)
    analyze.header.set_zooms((*spacing_mm, 1.0)[: array.ndim])
    analyze.to_filename(folder / f"{name}.img")
    return folder / f"{name}.hdr"


def message(path):
    with pytest.raises(CaseError, match=rf"^p1: {path.name} \(T1\)") as error:
        read_volume("p1", path, "T1")
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_voxels_type_and_geometry_are_kept(tmp_path, ending):
    volume = read_volume("p1", write(tmp_path / f"a{ending}", image(1)), "T1")
    np.testing.assert_array_equal(volume.dataobj, image(1))
    np.testing.assert_array_equal(volume.affine, AFFINE)
    assert volume.get_data_dtype() == np.int16


def test_scaled_voxels_become_their_values(tmp_path):
    scaled = nibabel.Nifti1Image(image(1), AFFINE)
    scaled.header.set_slope_inter(0.5, 3)
    scaled.to_filename(tmp_path / "a.nii")
    expected = nibabel.load(tmp_path / "a.nii").get_fdata()
    volume = read_volume("p1", tmp_path / "a.nii", "T1")
    volume.to_filename(tmp_path / "b.nii")
    np.testing.assert_allclose(nibabel.load(tmp_path / "b.nii").get_fdata(), expected, rtol=1e-6)
    assert volume.get_data_dtype() == np.float32


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 4, 1)])
def test_analyze_keeps_the_order_of_its_voxels_with_the_identity_as_orientation(tmp_path, shape):
    volume = read_volume("p1", write_analyze(tmp_path, "a", image(1, shape)), "T1")
    volume.to_filename(tmp_path / "b.nii.gz")
    read = sitk.ReadImage(str(tmp_path / "b.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), image(1, (2, 3, 4)).T)
    assert read.GetSpacing() == (1, 2, 3)
    assert read.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)


def test_a_nifti_pair_keeps_its_orientation(tmp_path):
    nibabel.Nifti1Pair(image(1), AFFINE).to_filename(tmp_path / "a.img")
    np.testing.assert_array_equal(read_volume("p1", tmp_path / "a.hdr", "T1").affine, AFFINE)


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 4, 5)])
def test_a_header_that_describes_two_positions(shape, tmp_path):
    """Both would be kept, and each reader of the new dataset would choose its own."""
    volume = nibabel.Nifti1Image(image(1, shape), AFFINE)
    moved = AFFINE.copy()
    moved[0, 3] += 40
    volume.set_qform(AFFINE, 1)
    volume.set_sform(moved, 2)
    volume.to_filename(tmp_path / "a.nii")
    assert "describes two positions" in message(tmp_path / "a.nii")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_truncated(tmp_path, ending):
    path = write(tmp_path / f"a{ending}", image(1, (9, 9, 9)))
    path.write_bytes(path.read_bytes()[:-4])
    assert "damaged" in message(path)


def test_another_bit_in_the_compressed_stream(tmp_path):
    path = write(tmp_path / "a.nii.gz", image(1))
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # of the checksum at its end, which only a reader that goes so far sees
    path.write_bytes(content)
    assert "CRC check failed" in message(path)


def test_a_truncated_analyze_file_and_one_without_its_other_half(tmp_path):
    path = write_analyze(tmp_path, "a", image(1))
    (tmp_path / "a.img").write_bytes((tmp_path / "a.img").read_bytes()[:-4])
    assert "damaged" in message(path)
    (tmp_path / "a.img").unlink()
    assert "a.img" in message(path)


@pytest.mark.parametrize("content", [b"", b"hello", bytes(400)])
def test_something_else(tmp_path, content):
    (tmp_path / "a.nii").write_bytes(content)
    assert "damaged or no NIfTI file" in message(tmp_path / "a.nii")
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content))
    assert "damaged or no NIfTI file" in message(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity(tmp_path, value):
    array = np.ones((2, 3, 4), np.float32)
    array[0, 0, 0] = value
    assert "NaN or infinity" in message(write(tmp_path / "a.nii.gz", array))


def grid_error(other):
    with pytest.raises(CaseError, match=r"^p1: ") as error:
        check_volumes("p1", {"a.nii (T1)": nibabel.Nifti1Image(image(1), AFFINE), "b.nii (label)": other})
    return str(error.value)


def test_grids(tmp_path):
    moved, spaced, turned = AFFINE.copy(), AFFINE.copy(), AFFINE.copy()
    moved[0, 3] += 50
    assert "(label) begins at" in grid_error(nibabel.Nifti1Image(image(1), moved))
    moved[0, 3] = AFFINE[0, 3] + 1e-5
    check_volumes("p1", {name: nibabel.Nifti1Image(image(1), a) for name, a in {"a": AFFINE, "b": moved}.items()})
    assert "b.nii (label) has 4x5x7 voxels, a.nii (T1) has 4x5x6" in grid_error(
        nibabel.Nifti1Image(image(1, (4, 5, 7)), AFFINE)
    )
    spaced[2, 2] = 2.1
    turned[0, 0] = 1
    assert "(label) has a spacing of " in grid_error(nibabel.Nifti1Image(image(1), spaced))
    assert "(label) is oriented " in grid_error(nibabel.Nifti1Image(image(1), turned))
    assert "4 axes (4x5x6x2)" in grid_error(nibabel.Nifti1Image(image(1, (4, 5, 6, 2)), AFFINE))
