"""Voxels that hold nothing, NaN, or what another modality holds: the case fails by name, the others go on."""

import shutil

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from magms_nnunet import Predictor
from magms_nnunet.cli import evaluate
from magms_nnunet.errors import InputError, InputWarning
from magms_nnunet.images.checks import InputChecks
from tests.faults.shared_models import edit_also_in_checkpoint
from tests.faults.spoiled_image import FILE, LABEL, like
from tests.faults.tiny import SHAPE, SIDE_FILES, give, voxels
from tests.integration.workspace import ENDING, QUIET, SPACING_MM, files_in, read_voxels, write_image

# --- 4: a modality that holds nothing ---------------------------------------------------------------------------------


@pytest.mark.fault(4)
@pytest.mark.parametrize(("value", "what"), [(0, "only zeros"), (7, "only the value 7"), (-1, "only the value -1")])
def test_modality_that_is_constant_fails(value, what, images, failure):
    like(images / FILE, np.full(SHAPE, value, np.int16))
    assert f"{LABEL} holds {what}: replace it, leave T1c out of --modalities, or let --treat-empty" in failure()


@pytest.mark.fault(4)
def test_empty_modality_is_left_out_where_that_is_wanted(images, prediction, model, tmp_path):
    """And what is predicted is what the other modality alone gives."""
    like(images / FILE, np.zeros(SHAPE, np.float32))
    says = f"{LABEL} holds only zeros: predicted without T1c"
    report = prediction("--treat-empty-as-missing", "--modalities", "T1c", "F", says=[says])
    assert report["modalities_used"] == ["FLAIR"]
    assert report["modalities_absent"] == ["T1", "T1c", "T2"]
    assert report["modalities_empty"] == ["T1c"]
    alone = Predictor(model, device="cpu", mirroring=False).predict({"FLAIR": images / f"p2_0000{ENDING}"})
    assert np.array_equal(sitk.GetArrayFromImage(alone), read_voxels(tmp_path / "out" / f"p2{ENDING}"))


@pytest.mark.fault(4)
def test_continuing_knows_the_case_that_was_predicted_without_its_empty_modality(
    images,
    magms_predict,
    tmp_path,
):
    like(images / FILE, np.zeros(SHAPE, np.float32))
    flags = ("--treat-empty-as-missing", "--modalities", "T1c", "F")
    assert magms_predict(images, tmp_path / "out", *flags)[0] == 0
    before = (tmp_path / "out" / f"p2{ENDING}").stat().st_mtime_ns
    assert magms_predict(images, tmp_path / "out", *flags, "--continue_prediction") == (0, [])
    assert (tmp_path / "out" / f"p2{ENDING}").stat().st_mtime_ns == before


@pytest.mark.fault(4)
def test_case_of_nothing_but_empty_modalities_fails(images, magms_predict, tmp_path):
    for path in images.glob("p2_*"):
        like(path, np.zeros(SHAPE, np.float32))
    code, (*_, line) = magms_predict(images, tmp_path / "out", "--treat-empty-as-missing")
    assert code == 3
    assert line.startswith("magms_predict: p2: nothing is left to predict from: ")
    assert files_in(tmp_path / "out") == {f"p1{ENDING}", "p1.json"} | SIDE_FILES


# --- 7: values that normalisation in single precision turns into nothing ----------------------------------------------


def with_one_voxel(value):
    image = voxels(2)
    image[9, 8, 8] = value
    return image


@pytest.mark.fault(7)
@pytest.mark.parametrize(
    ("array", "says"),
    [
        (with_one_voxel(1e20), "holds values as large as 1e+20: repair it, or scale it to values below 1e+15"),
        (with_one_voxel(-3e38), "holds values as large as 3e+38"),
        (voxels(2) * np.float32(1e16), "holds values as large as 1.7"),
        (voxels(2) * np.float32(1e-11), "holds values that differ by 1.7"),
    ],
    ids=["one voxel", "one negative voxel", "all large", "all small"],
)
def test_values_that_cannot_be_normalised_fail(array, says, images, failure):
    like(images / FILE, array)
    assert f"{LABEL} {says}" in failure()


@pytest.mark.fault(7)
def test_few_voxels_far_beyond_all_others_are_warned_of(images, prediction):
    like(images / FILE, with_one_voxel(1e12))
    prediction(says=[f"{LABEL} has few voxels that are far beyond all others (0 to 1e+12): is it damaged?"])


# --- 5: one image in place of two -------------------------------------------------------------------------------------


@pytest.mark.fault(5)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_image_as_two_modalities_fails(dtype, images, magms_predict, tmp_path):
    like(images / FILE, read_voxels(images / f"p2_0000{ENDING}").astype(dtype))
    code, (line,) = magms_predict(images, tmp_path / "out")
    assert code == 3
    assert line == (
        f"magms_predict: p2: p2_0000{ENDING} (FLAIR) and {LABEL} are the same image: give each modality's own, or say "
        "that it is meant with --allow-identical"
    )
    assert files_in(tmp_path / "out") == {f"p1{ENDING}", "p1.json"} | SIDE_FILES


@pytest.mark.fault(5)
def test_same_image_twice_is_let_through_where_it_is_meant(images, prediction):
    shutil.copy(images / f"p2_0000{ENDING}", images / FILE)
    assert prediction("--allow-identical")["modalities_used"] == ["FLAIR", "T1c"]


# --- 7: NaN and infinity ----------------------------------------------------------------------------------------------


def with_nan():
    array = voxels(0)
    array[9, 8, 7:10] = np.nan, np.inf, -np.inf
    return array


@pytest.mark.fault(7)
def test_nan_and_infinite_voxels_fail_although_simpleitk_reads_zeros(images, failure):
    like(images / FILE, with_nan())
    assert np.isfinite(read_voxels(images / FILE)).all()
    assert f"{LABEL} holds 3 NaN or infinite voxels: repair it, leave T1c out, or count them as 0" in failure()


@pytest.mark.fault(7)
def test_nan_counts_as_zero_where_that_is_wanted(images, prediction, tmp_path, magms_predict):
    like(images / FILE, with_nan())
    prediction("--nan-to-zero", says=[f"{LABEL} holds 3 NaN or infinite voxels, which count as 0"])
    like(images / FILE, np.nan_to_num(with_nan(), nan=0, posinf=0, neginf=0))
    assert magms_predict(images, tmp_path / "zeros") == (0, [])
    assert np.array_equal(
        read_voxels(tmp_path / "zeros" / f"p2{ENDING}"), read_voxels(tmp_path / "out" / f"p2{ENDING}")
    )


@pytest.mark.fault(7)
def test_nan_counts_as_zero_for_a_reader_that_does_not_hide_it(images, model, tmp_path, magms_predict):
    shutil.copytree(model, tmp_path / "model")
    edit_also_in_checkpoint(
        tmp_path / "model", "plans.json", lambda plans: plans.update(image_reader_writer="NibabelIO")
    )
    like(images / FILE, with_nan())
    flags = ("-m", tmp_path / "model", "--save_probabilities")
    code, (line,) = magms_predict(images, tmp_path / "out", *flags, "--nan-to-zero")
    assert (code, "which count as 0" in line) == (0, True)
    assert np.isfinite(np.load(tmp_path / "out" / "p2.npz")["probabilities"]).all()


# --- the same from Python ---------------------------------------------------------------------------------------------


@pytest.fixture
def predictor(model):
    return Predictor(model, device="cpu", step_size=1, mirroring=False)


def array_of(spoil):
    array = voxels(2)
    spoil(array)
    return {"FLAIR": (voxels(0), SPACING_MM), "T1c": (array, SPACING_MM)}


def to_zero(array):
    array[:] = 0


def to_nan(array):
    array[9, 8, 7] = np.nan


def to_flair(array):
    array[:] = voxels(0)


@pytest.mark.fault(4, 7)
@pytest.mark.parametrize(
    ("spoil", "says", "checks", "warns"),
    [
        (to_zero, "the T1c image holds only zeros", InputChecks(treat_empty_as_missing=True), "predicted without T1c"),
        (
            to_nan,
            "the T1c image holds 1 NaN",
            InputChecks(nan_to_zero=True),
            "1 NaN or infinite voxels, which count as 0",
        ),
    ],
)
def test_arrays_are_checked_like_files(spoil, says, checks, warns, predictor):
    with pytest.raises(InputError, match=says):
        predictor.predict(array_of(spoil))
    with pytest.warns(InputWarning, match=warns):
        assert predictor.predict(array_of(spoil), checks=checks).GetSize() == SHAPE[::-1]


@pytest.mark.fault(5)
def test_same_array_as_two_modalities(predictor):
    with pytest.raises(InputError, match=r"the FLAIR image and the T1c image are the same image"):
        predictor.predict(array_of(to_flair))
    assert predictor.predict(array_of(to_flair), checks=InputChecks(allow_identical=True)).GetSize() == SHAPE[::-1]


@pytest.mark.fault(6)
def test_tolerance_from_python(predictor):
    images = {"FLAIR": (voxels(0), SPACING_MM), "T1c": (voxels(2), (1.5, 1.0, 1.02))}
    with pytest.raises(InputError, match="has a spacing of"):
        predictor.predict(images)
    predictor.predict(images, checks=InputChecks(geometry_tolerance=0.5))


# --- the same in an evaluation ----------------------------------------------------------------------------------------


@pytest.mark.fault(7)
def test_evaluation_refuses_nan_and_takes_the_flag(model, tmp_path, capfd):
    images = give(tmp_path / "images", {"p2": range(4)})
    like(images / FILE, with_nan())
    labels = np.zeros(SHAPE, np.uint8)
    labels[6:9, 6:9, 6:9] = 1
    write_image(tmp_path / "labels" / f"p2{ENDING}", labels)
    where = ("-i", images, "-l", tmp_path / "labels", "-o", tmp_path / "out", "-m", model, "--disable_tta", *QUIET)
    arguments = [*map(str, where), "--subsets", "T1c", "F"]
    capfd.readouterr()
    assert evaluate.main(arguments) == 3
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"magms_evaluate: p2: {LABEL} holds 3 NaN or infinite voxels: ")
    other = [str(tmp_path / "other") if argument == str(tmp_path / "out") else argument for argument in arguments]
    assert evaluate.main([*other, "--nan-to-zero"]) == 0
    assert f"magms_evaluate: warning: p2: {LABEL} holds 3 NaN or infinite voxels, which" in capfd.readouterr().err
    assert (tmp_path / "other" / "report.html").is_file()


# --- 23: a network whose output is no number --------------------------------------------------------------------------


@pytest.mark.fault(23)
def test_output_that_is_not_finite_is_no_segmentation(images, model, magms_predict, tmp_path):
    """nnU-Net would take NaN for background."""
    folder = shutil.copytree(model, tmp_path / model.name)
    path = folder / "fold_0/checkpoint_final.pth"
    content = torch.load(path, weights_only=False)
    weights = content["network_weights"]
    for name in weights:
        if name.startswith("decoder.stages.1") and name.endswith("norm.weight"):
            weights[name].fill_(3e38)
    weights["decoder.seg_layers.1.weight"].zero_()  # times infinity
    torch.save(content, path)
    code, lines = magms_predict(images, tmp_path / "out", "-m", folder)
    assert code == 3
    assert [line.split(":")[1] for line in lines] == [" p1", " p2"]
    assert all("is not finite: its weights are damaged, or the intensities are far from" in line for line in lines)
    assert files_in(tmp_path / "out") == SIDE_FILES
