import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from magms_nnunet.images.files import ImageFileError, read_grid, read_image_file
from magms_nnunet.images.grid import contradiction, difference

SHAPE = (5, 6, 7)
BASE = np.diag([-6.0, -6, 6, 1])
FLIPPED = np.diag([6.0, -6, 6, 1])  # the other handedness
CODES = [(q, s) for q in range(1, 5) for s in range(1, 5)]


def turned(degrees: float) -> np.ndarray:
    """About an oblique axis, 0.9 mm, somewhere."""
    x, y, z = np.array([0.1, 0.2, 0.97]) / np.linalg.norm([0.1, 0.2, 0.97])
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.deg2rad(degrees)
    affine = np.eye(4)
    affine[:3, :3] = 0.9 * (np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)
    affine[:3, 3] = 31.7, -88.1, 12.3
    return affine


def write(path, qform=None, qcode=0, sform=None, scode=0, shape=SHAPE, units="mm", **fields):
    """An image with these forms; ``fields`` are set in the header afterwards."""
    image = nibabel.Nifti1Image(np.arange(np.prod(shape), dtype=np.int16).reshape(shape), None)
    image.header.set_xyzt_units(units)
    if qform is not None:
        image.set_qform(qform, qcode)
    if sform is not None:
        image.set_sform(sform, scode)
    for field, value in {"qform_code": qcode, "sform_code": scode, **fields}.items():
        image.header[field] = value
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("base", [BASE, FLIPPED, turned(30), turned(179.9)], ids=["RAS", "LAS", "oblique", "half turn"])
@pytest.mark.parametrize(("qcode", "scode"), CODES)
def test_forms_that_disagree_are_found_whichever_simpleitk_takes(qcode, scode, base, tmp_path):
    moved = base.copy()
    moved[:3, 3] += 40, -30, 20
    path = write(tmp_path / "a.nii.gz", base, qcode, moved, scode)
    itk = np.array(sitk.ReadImage(str(path)).GetOrigin()) * (-1, -1, 1)
    takes_sform = np.allclose(itk, moved[:3, 3], atol=1e-3)
    other = "qform" if takes_sform else "sform"
    assert list(read_grid(path).forms) == [other]
    assert f" voxels apart: its {other} begins at " in contradiction(read_grid(path), 1e-3)


@pytest.mark.parametrize("shift_mm", [0.005, 0.1])
def test_tolerance_is_in_voxels(shift_mm, tmp_path):
    moved = BASE.copy()
    moved[0, 3] += shift_mm
    grid = read_grid(write(tmp_path / "a.nii", BASE, 1, moved, 2))
    assert contradiction(grid, 1.1 * shift_mm / 6) is None
    assert contradiction(grid, 0.9 * shift_mm / 6)


@pytest.mark.parametrize("degrees", [*np.linspace(0, 179, 8), *(180 + np.linspace(-0.2, 0.2, 41))])
def test_rounding_of_a_rotation_is_no_contradiction(degrees, tmp_path):
    """Near half a turn the qform keeps the angle to a thousandth only: 0.2 voxels at the end of 200."""
    for number, affine in enumerate((turned(degrees), turned(degrees) @ FLIPPED)):
        for codes in ((1, 1), (1, 2), (2, 1), (1, 0)):
            path = write(tmp_path / f"{number}.nii", affine, codes[0], affine, codes[1], shape=(200, 3, 180))
            assert read_grid(path).forms == {}


def test_orientation_that_disagrees(tmp_path):
    grid = read_grid(write(tmp_path / "a.nii", BASE, 1, FLIPPED, 2))
    assert "its qform is oriented LPS, what SimpleITK reads RPS" in contradiction(grid, 1e-3)


@pytest.mark.parametrize("qcode", [0, 1])
def test_spacing_that_is_not_that_of_the_sform(qcode, tmp_path):
    """SimpleITK would take 6 mm for 1 mm."""
    sform = np.diag([-1.0, -1, 1, 1])
    grid = read_grid(write(tmp_path / "a.nii", BASE, qcode, sform, 1, pixdim=(1, 6, 6, 6, 0, 0, 0, 0)))
    assert "has a spacing of 1x1x1 mm, what SimpleITK reads of 6x6x6 mm" in contradiction(grid, 1e-3)


@pytest.mark.parametrize("units", ["meter", "micron"])
def test_units_that_only_simpleitk_heeds(units, tmp_path):
    assert "what SimpleITK reads of" in contradiction(
        read_grid(write(tmp_path / "a.nii", BASE, 1, BASE, 1, units=units)), 1
    )


def test_a_code_that_is_none_does_not_hide_a_form(tmp_path):
    """nibabel passes over it, SimpleITK does not."""
    moved = BASE.copy()
    moved[0, 3] += 40
    path = write(tmp_path / "a.nii", BASE, 1, moved, 2)
    content = bytearray(path.read_bytes())
    content[254:256] = np.int16(7).tobytes()
    path.write_bytes(content)
    assert contradiction(read_grid(path), 1e-3)


@pytest.mark.parametrize("ending", [".hdr", ".img"])
def test_a_header_beside_its_voxels(ending, tmp_path):
    moved = BASE.copy()
    moved[0, 3] += 40
    image = nibabel.Nifti1Pair(np.ones(SHAPE, np.int16), None)
    image.set_qform(BASE, 1)
    image.set_sform(moved, 2)
    nibabel.save(image, tmp_path / "a.img")
    assert contradiction(read_image_file(tmp_path / f"a{ending}")[0], 1e-3)


def test_a_header_without_a_form(tmp_path):
    grid = read_grid(write(tmp_path / "a.nii"))
    assert (grid.is_placed, grid.forms) == (False, {})
    assert read_grid(write(tmp_path / "b.nii", BASE, 1)).is_placed


def test_grids_are_compared_by_every_form(tmp_path):
    """One of two images that SimpleITK puts at the same place lies elsewhere for everybody else."""
    moved = BASE.copy()
    moved[:3, 3] += 40, -30, 20
    one = read_grid(write(tmp_path / "one.nii", BASE, 1, BASE, 2))
    other = read_grid(write(tmp_path / "other.nii", BASE, 1, moved, 2))
    same = read_grid(write(tmp_path / "same.nii", BASE, 1, moved, 2))
    assert difference(other, one, "one", 1e-3) == "begins at -40 30 20 mm, one at 0 0 0 mm (by the sform)"
    assert difference(one, other, "other", 1e-3) == "begins at 0 0 0 mm, other at -40 30 20 mm (by the sform)"
    assert difference(other, same, "same", 1e-3) is None


def scaled(path, slope, inter):
    """Stored 0 to 1291, with this scaling in the header."""
    stored = np.linspace(0, 1291, np.prod(SHAPE)).astype(np.int16).reshape(SHAPE)
    header = nibabel.Nifti1Image(stored, BASE).header
    header["scl_slope"], header["scl_inter"], header["vox_offset"], header["magic"] = slope, inter, 352, b"n+1"
    path.write_bytes(header.binaryblock + bytes(4) + stored.tobytes(order="F"))
    return path


@pytest.mark.parametrize("slope", [1, 2, -1, 0.5])
@pytest.mark.parametrize("inter", [0, -1024, np.nan, np.inf])
def test_values_are_those_that_simpleitk_reads(slope, inter, tmp_path):
    """An intercept that is no number is none; nibabel would not open the file."""
    path = scaled(tmp_path / "a.nii", slope, inter)
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    voxels = read_image_file(path)[1]
    assert (voxels.minimum, voxels.maximum) == (array.min(), array.max())


@pytest.mark.parametrize("slope", [0, -0.0, np.nan, np.inf])
@pytest.mark.parametrize("inter", [0, np.nan])
def test_a_slope_that_is_none_leaves_the_values(slope, inter, tmp_path):
    voxels = read_image_file(scaled(tmp_path / "a.nii", slope, inter))[1]
    assert (voxels.minimum, voxels.maximum) == (0, 1291)


@pytest.mark.parametrize(
    ("slope", "inter", "both"),
    [
        (0, -1024, "multiplies by 1 and adds -1024, other readers multiply by 1 and add 0"),
        (np.nan, -1024, "multiplies by 1 and adds -1024, other readers multiply by 1 and add 0"),
        (1e-40, 0, "multiplies by 1 and adds 0, other readers multiply by 9.99995e-41 and add 0"),
    ],
)
def test_values_that_simpleitk_reads_otherwise_than_others(slope, inter, both, tmp_path):
    path = scaled(tmp_path / "a.nii", slope, inter)
    with pytest.raises(ImageFileError, match=both):
        read_image_file(path)
