import gzip
import tracemalloc
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from magms_nnunet.images.files import ImageFileError, read_image_file, summarize

RNG = np.random.default_rng(0)
IMAGE = RNG.normal(100, 20, (50, 60, 70)).astype(np.float32)


def nifti(path, array):
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)
    return path


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.mha", "a.nrrd"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_all_formats_and_types_give_the_same(name, dtype, tmp_path):
    array = IMAGE.astype(dtype)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / name))
    grid, voxels = read_image_file(tmp_path / name)
    assert (grid.size, grid.orientation) == ((70, 60, 50), "LPS")
    assert (voxels.nonfinite, voxels.minimum, voxels.maximum) == (0, array.min(), array.max())
    assert len(voxels.sample) > 15_000
    assert np.mean(voxels.sample) == pytest.approx(array.mean(), rel=0.01)


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_orders_of_bytes_and_a_scale(order, tmp_path):
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(np.int16)
    header.set_slope_inter(0.5, 10)
    stored = np.arange(-60, 60, dtype=np.int16).reshape(4, 5, 6)
    header.set_data_shape(stored.shape)
    with open(tmp_path / "a.nii", "wb") as file:
        header.set_data_offset(352)
        header.write_to(file)
        file.write(stored.astype(f"{order}i2").tobytes())
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.nii")))
    expected = 0.5 * np.arange(-60, 60) + 10
    assert np.array_equal(np.sort(array.ravel()), expected)
    _, voxels = read_image_file(tmp_path / "a.nii")
    assert (voxels.minimum, voxels.maximum) == (-20, 39.5)
    assert np.array_equal(np.sort(voxels.sample), expected)


def test_a_sample_comes_from_every_column(tmp_path):
    """512 columns and a stride of 2^k would give one column of them."""
    columns = np.broadcast_to(np.arange(512, dtype=np.int16), (64, 512, 512))
    sample = summarize(columns).sample
    assert len(np.unique(sample)) == 512
    assert len(sample) == pytest.approx(1 << 16, rel=0.1)


def test_nan_and_infinity_are_counted_where_simpleitk_hides_them(tmp_path):
    array = IMAGE.copy()
    array[0, 0, :3] = np.nan, np.inf, -np.inf
    path = nifti(tmp_path / "a.nii.gz", array)
    assert np.isfinite(sitk.GetArrayFromImage(sitk.ReadImage(str(path)))).all()
    _, voxels = read_image_file(path)
    assert voxels.nonfinite == 3
    assert voxels.maximum == IMAGE.max()
    assert np.isfinite(voxels.sample).all()


def test_nan_beyond_the_first_megabyte_is_counted(tmp_path):
    array = np.ones((100, 100, 100), np.float32)
    array[99, 99, 99] = np.nan
    assert read_image_file(nifti(tmp_path / "a.nii", array))[1].nonfinite == 1


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.mha", "a.nrrd"])
def test_a_file_that_ends_too_early(name, tmp_path):
    path = tmp_path / name
    sitk.WriteImage(sitk.GetImageFromArray(IMAGE), str(path))
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ImageFileError, match=r"truncated or damaged|shorter than its header says"):
        read_image_file(path)


def test_a_checksum_that_is_wrong(tmp_path):
    path = nifti(tmp_path / "a.nii.gz", IMAGE)
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)
    with pytest.raises(ImageFileError, match=r"damaged \(CRC check failed"):
        read_image_file(path)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_file_that_is_not_compressed_as_its_name_says(order, tmp_path):
    image = nibabel.Nifti1Image(IMAGE, np.eye(4), nibabel.Nifti1Header(endianness=order))
    nibabel.save(image, tmp_path / "a.nii")
    (tmp_path / "a.nii").rename(tmp_path / "a.nii.gz")
    with pytest.raises(ImageFileError, match=r"is not compressed, .*: rename it to a\.nii and gzip that"):
        read_image_file(tmp_path / "a.nii.gz")


def test_a_compressed_file_whose_name_does_not_say_so(tmp_path):
    nifti(tmp_path / "a.nii.gz", IMAGE).rename(tmp_path / "a.nii")
    with pytest.raises(ImageFileError, match=r"is compressed, .*: rename it to a\.nii\.gz and gunzip that"):
        read_image_file(tmp_path / "a.nii")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti_2(name, tmp_path):
    nibabel.save(nibabel.Nifti2Image(IMAGE, np.eye(4)), tmp_path / name)
    with pytest.raises(ImageFileError, match=r"is NIfTI-2, which SimpleITK, .*: save it as NIfTI-1"):
        read_image_file(tmp_path / name)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.mha"])
@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 1000])
def test_what_is_no_image(name, content, tmp_path):
    (tmp_path / name).write_bytes(gzip.compress(content) if content and name.endswith("gz") else content)
    with pytest.raises(ImageFileError, match=r"empty|not an image"):
        read_image_file(tmp_path / name)


@pytest.mark.parametrize(
    ("array", "problem"),
    [
        (IMAGE[..., None][..., [0, 0]], r"is 4-D \(50x60x70x2\)"),
        (IMAGE[:4, :5, :6].astype(np.complex64), r"2 values per voxel \(4x5x6"),
        (np.zeros((4, 5, 6), [("R", "u1"), ("G", "u1"), ("B", "u1")]), r"3 values per voxel \(4x5x6; an RGB"),
    ],
)
def test_what_is_not_one_greyscale_image(array, problem, tmp_path):
    with pytest.raises(ImageFileError, match=problem):
        read_image_file(nifti(tmp_path / "a.nii.gz", array))


@pytest.mark.parametrize("with_qform", [False, True])
def test_axes_that_are_not_at_right_angles(with_qform, tmp_path):
    """With a good qform beside the skewed sform SimpleITK takes that, and says nothing."""
    skewed = np.eye(4)
    skewed[0, 1] = 0.1
    image = nibabel.Nifti1Image(IMAGE, skewed)
    image.set_sform(skewed, code=1)
    image.set_qform(np.eye(4), code=int(with_qform))
    nibabel.save(image, tmp_path / "a.nii.gz")
    with pytest.raises(ImageFileError, match=r"\(50x60x70\) has axes that are not at right angles"):
        read_image_file(tmp_path / "a.nii.gz")


def test_formats_of_other_readers_are_left_to_them(tmp_path):
    (tmp_path / "a.png").write_bytes(b"whatever")
    assert read_image_file(tmp_path / "a.png") is None


def test_a_missing_file():
    with pytest.raises(ImageFileError, match="No such file"):
        read_image_file(Path("nowhere.nii.gz"))


@pytest.mark.parametrize("field", ["srow_y", "qoffset_z", "quatern_b"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("code", [1, 7])  # 7 is none
def test_a_position_that_is_no_number(field, value, code, tmp_path):
    """SimpleITK never comes back from the first of them."""
    path = nifti(tmp_path / "case.nii.gz", np.random.default_rng(0).normal(size=(9, 8, 7)).astype(np.float32))
    image = nibabel.load(path)
    image.header["sform_code"] = image.header["qform_code"] = code
    image.header[field] = (1e-30, -1, 0, value) if field == "srow_y" else value
    content = bytearray(image.header.binaryblock) + bytearray(gzip.decompress(path.read_bytes())[348:])
    path.write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(ImageFileError, match="has a position in its header that is NaN or infinite"):
        read_image_file(path)


def test_matrix_of_brain_locations_is_no_image(tmp_path):
    """CIFTI-2 is stored in a NIfTI-2 container, under its ending."""
    cifti2 = nibabel.cifti2
    scalars = cifti2.ScalarAxis(["a"])
    locations = cifti2.BrainModelAxis.from_mask(np.ones((4, 4, 4), bool), affine=np.eye(4), name="thalamus_left")
    nibabel.save(cifti2.Cifti2Image(np.ones((1, 64), np.float32), (scalars, locations)), tmp_path / "a.nii")
    with pytest.raises(ImageFileError, match="is a Cifti2Image, not a NIfTI image: export it again"):
        read_image_file(tmp_path / "a.nii")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mha"])
def test_what_is_kept_of_an_image_is_small(name, tmp_path):
    """Views as samples would keep all of it in memory: 32 MB here."""
    array = np.zeros((128, 256, 256), np.float32)
    array[::7] = 1
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / name))
    read_image_file(tmp_path / name)  # imports, once
    tracemalloc.start()
    _, voxels = read_image_file(tmp_path / name)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert voxels.sample.nbytes < 1 << 20
    assert kept < 4 << 20
    assert peak < 8 << 20 or name == "a.mha"  # that is read as a whole
