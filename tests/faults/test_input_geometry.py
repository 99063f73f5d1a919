"""Images of a case that lie on different grids, or are no volumes at all."""

import json
import shutil

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from magms_nnunet.cli.convert import main as magms_convert
from magms_nnunet.cli.evaluate import main as magms_evaluate
from tests.datasets.nnunet_home import AFFINE
from tests.datasets.test_brats import NEW, write_case
from tests.faults.spoiled_image import FILE, LABEL, like
from tests.faults.tiny import SHAPE, give, voxels
from tests.integration.workspace import ENDING, QUIET, write_image

# --- 6: modalities on different grids ---------------------------------------------------------------------------------

Z, Y, X = SHAPE
RAS = (-1, 0, 0, 0, -1, 0, 0, 0, 1)


@pytest.mark.fault(6)
@pytest.mark.parametrize(
    ("array", "geometry", "says"),
    [
        (voxels(0)[1:], {}, f"has {X}x{Y}x{Z - 1} voxels, p2_0000{ENDING} (FLAIR) has {X}x{Y}x{Z}"),
        (
            voxels(0),
            {"spacing_mm": (3.0, 1.0, 1.0)},
            f"has a spacing of 1x1x3 mm, p2_0000{ENDING} (FLAIR) of 1x1x1.5 mm",
        ),
        (voxels(0), {"origin_mm": (0.0, 0.01, 0.0)}, f"begins at 0 0.01 0 mm, p2_0000{ENDING} (FLAIR) at 0 0 0 mm"),
        (voxels(0), {"direction": RAS}, f"is oriented RAS, p2_0000{ENDING} (FLAIR) LPS"),
        (
            voxels(0),
            {"direction": (0.8, 0.6, 0, -0.6, 0.8, 0, 0, 0, 1)},
            "(direction cosines 0.8 0.6 0 -0.6 0.8 0 0 0 1 and 1 0",
        ),
    ],
    ids=["shape", "spacing", "origin", "orientation", "angle"],
)
def test_grids_that_differ_fail(array, geometry, says, images, failure):
    like(images / FILE, array, **geometry)
    line = failure()
    assert says in line
    assert "resample them to one grid" in line


@pytest.mark.fault(6)
def test_rounding_of_headers_is_no_difference(images, prediction):
    like(images / FILE, voxels(0), origin_mm=(0.0, 0.0005, 0.0), spacing_mm=(1.5, 1.0, 1.00001))
    prediction()


@pytest.mark.fault(6)
@pytest.mark.parametrize(
    "geometry", [{"origin_mm": (0.0, 0.4, 0.0)}, {"spacing_mm": (1.5, 1.0, 1.02)}], ids=["origin", "spacing"]
)
def test_tolerance_is_in_voxels_and_taken_at_its_word(geometry, images, prediction, failure):
    """0.4 voxels, and 16 voxels of 0.02 each, which nnU-Net's reader would refuse."""
    like(images / FILE, voxels(0), **geometry)
    prediction("--geometry-tolerance", 0.5)
    shutil.rmtree(images.parent / "out")
    assert "accept it with --geometry-tolerance (they lie 0." in failure("--geometry-tolerance", 0.3)


@pytest.fixture
def brats(tmp_path, monkeypatch):
    """BraTS of two cases, as published."""
    for kind in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{kind}", str(tmp_path / kind))
    for case in ("BraTS-GLI-00001-000", "BraTS-GLI-00002-000"):
        write_case(tmp_path / "source" / case, case, NEW, "-", seg=(0, 1, 2, 3))
    return tmp_path / "source"


@pytest.mark.fault(6)
@pytest.mark.parametrize(
    ("part", "named", "first"), [("seg", "label", "FLAIR"), ("t1n", "T1", "FLAIR"), ("t2w", "T2", "FLAIR")]
)
def test_conversion_refuses_the_grids_that_prediction_refuses(part, named, first, brats, tmp_path, capsys):
    case = "BraTS-GLI-00001-000"
    path, arguments = brats / case / f"{case}-{part}{ENDING}", ["brats", str(brats), "-d", "501"]
    moved = AFFINE.copy()
    moved[1, 3] -= 50  # mm, of 1 mm each
    nibabel.save(nibabel.Nifti1Image(np.asanyarray(nibabel.load(path).dataobj), moved), path)
    assert magms_convert(arguments) == 2
    says = f"{path.name} ({named}) begins at 0 -189 5 mm, {case}-t2f{ENDING} ({first}) at 0 -239 5 mm: resample them to"
    accept = "one grid, or accept it with --geometry-tolerance (they lie 50 voxels apart)"
    assert f"{says} {accept}" in capsys.readouterr().err
    assert not (tmp_path / "raw/Dataset501_BraTS").exists()
    assert magms_convert([*arguments, "--geometry-tolerance", "50.1"]) == 0
    assert (tmp_path / "raw/Dataset501_BraTS/dataset.json").is_file()


@pytest.mark.fault(6)
@pytest.mark.parametrize("value", ["-1", "nan", "inf"])
def test_tolerance_that_makes_no_sense(value, images, magms_predict, tmp_path):
    code, (*_, line) = magms_predict(images, tmp_path / "out", "--geometry-tolerance", value)
    assert code == 2
    assert "--geometry-tolerance must be 0 or more voxels, got" in line


# --- 6: one header that describes two positions -----------------------------------------------------------------------

HERE = np.diag([-1.0, -1.0, 1.5, 1.0])
THERE = HERE.copy()
THERE[:3, 3] = 40, -30, 20
TWO_POSITIONS = (
    "describes two positions, 40 voxels apart: its sform begins at -40 30 20 mm, what SimpleITK reads at 0 0 0 mm"
)


def place(path, qform, sform, codes=(1, 2)):
    """What SPM, FSL and fMRIPrep leave behind: the scanner's position in one form, the aligned one in the other."""
    image = nibabel.load(path)
    image = nibabel.Nifti1Image(np.asarray(image.dataobj), None, image.header)
    image.set_qform(qform, codes[0])
    image.set_sform(sform, codes[1])
    nibabel.save(image, path)


@pytest.mark.fault(6)
def test_header_that_describes_two_positions_fails(images, failure):
    place(images / FILE, HERE, THERE)
    assert f"{TWO_POSITIONS}: make sform and qform agree" in failure()


@pytest.mark.fault(6)
def test_two_positions_are_let_through_where_that_is_wanted(images, prediction, tmp_path):
    """The result lies where SimpleITK reads the images."""
    for path in images.glob("p2_*"):
        place(path, HERE, THERE)
    labels = (f"p2_0000{ENDING} (FLAIR)", LABEL)
    says = [f"{label} {TWO_POSITIONS}: the result lies where SimpleITK reads it" for label in labels]
    prediction("--allow-two-positions", says=says)
    assert sitk.ReadImage(str(tmp_path / "out" / f"p2{ENDING}")).GetOrigin() == (0, 0, 0)


@pytest.mark.fault(6)
def test_modalities_are_compared_under_both_positions(images, failure):
    """Only one of them was moved, by a form that SimpleITK passes over."""
    place(images / FILE, HERE, THERE)
    line = failure("--allow-two-positions")
    assert f"begins at -40 30 20 mm, p2_0000{ENDING} (FLAIR) at 0 0 0 mm (by the sform): resample" in line


@pytest.mark.fault(6)
def test_header_without_a_position_is_noted(images, prediction):
    place(images / FILE, None, None, codes=(0, 0))
    prediction(
        says=[f"{LABEL} says nothing of the position (sform and qform codes are 0): check left and right in the result"]
    )


@pytest.mark.fault(6)
def test_reference_that_describes_two_positions_is_not_scored(model, tmp_path, capfd):
    images, labels = give(tmp_path / "images", {"p1": range(4)}), tmp_path / "labels"
    write_image(labels / f"p1{ENDING}", np.ones(SHAPE, np.uint8))
    place(labels / f"p1{ENDING}", HERE, THERE)
    arguments = ("-i", images, "-l", labels, "-m", model, "--subsets", "T1c", "--disable_tta", *QUIET)
    assert magms_evaluate([*map(str, (*arguments, "-o", tmp_path / "out"))]) == 3
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"magms_evaluate: p1: p1{ENDING} (reference) {TWO_POSITIONS}: make sform and qform agree")
    assert magms_evaluate([*map(str, (*arguments, "-o", tmp_path / "let", "--allow-two-positions"))]) == 0


# --- 9: images of another kind ----------------------------------------------------------------------------------------


def four_d(path):
    sitk.WriteImage(sitk.JoinSeries([sitk.ReadImage(str(path))] * 2), str(path))


def rgb(path):
    sitk.WriteImage(sitk.Compose(*[sitk.Image(SHAPE[::-1], sitk.sitkUInt8)] * 3), str(path))


def complex_numbers(path):
    nibabel.save(nibabel.Nifti1Image(np.ones(SHAPE, np.complex64), np.eye(4)), path)


def two_d(path):
    sitk.WriteImage(sitk.ReadImage(str(path))[:, :, 9], str(path))


def one_slice(path):
    sitk.WriteImage(sitk.ReadImage(str(path))[:, :, 9:10], str(path))


def one_slice_across(path):
    sitk.WriteImage(sitk.ReadImage(str(path))[7:8], str(path))


def sheared(path):
    affine = np.diag([1.0, 1.0, 1.5, 1.0])
    affine[0, 1] = 0.2
    nibabel.save(nibabel.Nifti1Image(voxels(0).T, affine), path)


def sheared_beside_a_qform(path):
    """SimpleITK takes the qform then, without a word; viewers take the sform."""
    sheared(path)
    image = nibabel.load(path)
    image = nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header)
    image.set_qform(np.diag([1.0, 1.0, 1.5, 1.0]), code=1)
    nibabel.save(image, path)


@pytest.mark.fault(9)
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (four_d, f"is 4-D ({X}x{Y}x{Z}x2): give one 3-D image per modality and file"),
        (rgb, f"has 3 values per voxel ({X}x{Y}x{Z}; an RGB"),
        (complex_numbers, "has 2 values per voxel"),
        (two_d, f"is 2-D ({X}x{Y}): this model reads 3-D images"),
        (one_slice, f"is a single slice ({X}x{Y}x1): this model reads 3-D images"),
        (one_slice_across, f"is a single slice (1x{Y}x{Z}): this model reads 3-D images"),
        (sheared, f"({X}x{Y}x{Z}) has axes that are not at right angles"),
        (sheared_beside_a_qform, f"({X}x{Y}x{Z}) has axes that are not at right angles"),
    ],
)
def test_image_of_another_kind_fails_with_its_shape(spoil, says, images, model, tmp_path, failure):
    named = shutil.copytree(model, tmp_path / "MAGMSTrainer__MAGMSPlans__tiny")
    spoil(images / FILE)
    assert says in failure("-m", named)


@pytest.mark.fault(9)
@pytest.mark.parametrize("spoil", [two_d, one_slice])
def test_whatever_the_models_folder_is_called(spoil, images, model, tmp_path, failure):
    spoil(images / FILE)
    assert "this model reads 3-D images" in failure("-m", shutil.copytree(model, tmp_path / "my_model"))


@pytest.mark.fault(9)
def test_model_in_the_folder_one_stands_in(images, model, tmp_path, failure, monkeypatch):
    two_d(images / FILE)
    monkeypatch.chdir(model)
    assert "this model reads 3-D images" in failure("-m", ".")
    assert json.loads((tmp_path / "out" / "p1.json").read_text())["model"]["name"] == model.name


@pytest.mark.fault(9)
@pytest.mark.parametrize("protocol", ["masked", "absent"])
@pytest.mark.parametrize("spoil", [two_d, one_slice])
def test_flat_images_are_not_scored(spoil, protocol, model, tmp_path, capfd):
    images, labels = give(tmp_path / "images", {"p1": range(4)}), tmp_path / "labels"
    write_image(labels / f"p1{ENDING}", np.ones(SHAPE, np.uint8))
    for path in (*images.iterdir(), *labels.iterdir()):
        spoil(path)
    arguments = ("-i", images, "-l", labels, "-o", tmp_path / "out", "-m", model, "--protocol", protocol)
    assert magms_evaluate([*map(str, (*arguments, "--subsets", "T1c", "--disable_tta", *QUIET))]) == 3
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"magms_evaluate: p1: p1_000{2 if protocol == 'absent' else 0}{ENDING} ")
    assert "this model reads 3-D images" in line
