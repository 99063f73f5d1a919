"""One patient from named files: ``magms_predict --image``."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from magms_nnunet.cli.predict import main
from magms_nnunet.inference.predictor import Predictor
from magms_nnunet.model.expected import attach
from tests.faults.tiny import NAMES, model, voxels  # noqa: F401
from tests.integration.workspace import QUIET, files_in, read_voxels, write_image

WINDOW = ("-device", "cpu", "--disable_tta", "--disable_progress_bar")


@pytest.fixture
def scans(tmp_path):
    """flair.nii.gz, t1c.mha and t2.nii of one patient, under names that say nothing of channels."""
    folder = tmp_path / "scans"
    for seed, name in enumerate(("flair.nii.gz", "t1c.mha", "t2.nii")):
        write_image(folder / name, voxels(seed))
    return folder


@pytest.fixture
def predict(model, capfd):  # noqa: F811
    """predict(output, *flags): exit code, lines on stdout and on stderr."""

    def predict(output, *flags):
        capfd.readouterr()
        try:
            code = main([*map(str, ("-o", output, "-m", model, "-f", 0, *WINDOW, *flags))])
        except SystemExit as exit:
            code = exit.code
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return code, out.splitlines(), err.splitlines()

    return predict


def images(scans):
    return "--image", f"F={scans / 'flair.nii.gz'}", f"t1ce={scans / 't1c.mha'}"


def test_one_file_out_and_its_json_beside_it(scans, predict, model, tmp_path):  # noqa: F811
    code, out, err = predict(tmp_path / "out/seg.nii.gz", *images(scans))
    assert (code, err) == (0, [])
    assert out == ["seg from FLAIR+T1c: the Dice to expect is not known (magms_evaluate --attach measures it)"]
    assert files_in(tmp_path / "out") == {"seg.nii.gz", "seg.json"}
    report = json.loads((tmp_path / "out/seg.json").read_text())
    assert report["modalities_used"] == ["FLAIR", "T1c"]
    assert report["files"] == {"FLAIR": "flair.nii.gz", "T1c": "t1c.mha"}
    assert report["files_sha256"].keys() == {"FLAIR", "T1c"}
    assert not any(str(tmp_path) in value for value in map(str, report.values()))
    segmentation = sitk.ReadImage(tmp_path / "out/seg.nii.gz")
    labels = sitk.GetArrayFromImage(segmentation)
    voxel_mm3 = np.prod(segmentation.GetSpacing())
    assert report["volumes_mm3"] == {f"label{label}": int((labels == label).sum()) * voxel_mm3 for label in (1, 2)}


def test_it_is_what_a_folder_gives_in_the_format_that_is_asked_for(scans, predict, model, tmp_path):  # noqa: F811
    write_image(tmp_path / "in/p1_0000.nii.gz", voxels(0))
    write_image(tmp_path / "in/p1_0002.nii.gz", voxels(1))
    assert main([*map(str, ("-i", tmp_path / "in", "-o", tmp_path / "folder", "-m", model, "-f", 0, *WINDOW))]) == 0
    assert predict(tmp_path / "seg.mha", *images(scans))[0] == 0
    one, other = (sitk.ReadImage(tmp_path / name) for name in ("seg.mha", "folder/p1.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(one), sitk.GetArrayFromImage(other))
    assert one.GetSpacing() == other.GetSpacing()


def test_uncertainty_and_preview_lie_beside_it(scans, predict, tmp_path):
    flags = ("--save_uncertainty", "--preview", "--save_probabilities")
    assert predict(tmp_path / "out/seg.nii.gz", *images(scans), *flags)[0] == 0
    names = {"seg.nii.gz", "seg.json", "seg_uncertainty.nii.gz", "seg.png", "seg.npz", "seg.pkl"}
    assert files_in(tmp_path / "out") == names
    entropy = read_voxels(tmp_path / "out/seg_uncertainty.nii.gz")
    p = np.load(tmp_path / "out/seg.npz")["probabilities"].astype(np.float32)
    np.testing.assert_allclose(entropy, -(p * np.log(np.clip(p, 1e-9, 1))).sum(0), atol=1e-3)
    assert (tmp_path / "out/seg.png").read_bytes()[:4] == b"\x89PNG"


def test_an_evaluation_says_how_far_to_trust_it(scans, predict, model, tmp_path):  # noqa: F811
    predictor = Predictor(model, device="cpu")
    regions = {"label1": 0.3, "label2": 0.5}
    residuals = {region: [number / 100 for number in range(20)] for region in regions}
    subsets = {
        "FLAIR+T1c": {"mean": 0.4, "regions": regions, "sd": 0.1, "residuals": residuals},
        "FLAIR+T1c+T2": {"mean": 0.65, "regions": regions, "sd": 0.1, "residuals": residuals},
        "+".join(NAMES): {"mean": 0.7, "regions": regions, "sd": 0.1, "residuals": residuals},
    }
    about = {"sha256": predictor.model.fingerprint, "fill": None, "protocol": "masked", "dataset": "D", "cases": 20}
    file = attach(model, about | {"subsets": subsets})
    try:
        code, out, _ = predict(tmp_path / "seg.nii.gz", *images(scans))
    finally:
        file.unlink()
    assert code == 0
    assert out[0] == "seg from FLAIR+T1c: expected Dice 0.40 (SD 0.10, 20 cases of D), WEAK; T2 would add 0.25"
    report = json.loads((tmp_path / "seg.json").read_text())
    assert report["weak"] is True
    assert report["next_scan"] == {"modality": "T2", "expected_dice": 0.65, "gain": 0.25}
    for bound in report["dice_at_least"].values():
        assert bound["dice"] == pytest.approx(max(0, bound["estimate"] - 0.18))  # ceil(21 * 0.9) = 19th of 20
        assert (bound["coverage"], bound["calibration_cases"]) == (0.9, 20)
    assert "residuals" not in report["expected_dice"]
    assert out[1].startswith("seg: Dice of label1 >= ")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--image", "flair.nii.gz"], "--image flair.nii.gz: give NAME=FILE, such as FLAIR=scan.nii.gz"),
        (["--image", "FLAIR=gone.nii.gz"], "--image FLAIR=gone.nii.gz: there is no such file"),
        (["--image", "FLAIR={0}", "F={0}"], "names FLAIR twice"),
        (["--image", "PD={0}"], "unknown modality 'PD'"),
        (["--image", "FLAIR={0}", "T1c={0}"], "are the same image"),
        (["--image", "FLAIR={0}", "--modalities", "F"], "--modalities: for many cases, not for one patient"),
        (["--image", "FLAIR={0}", "-i", "x"], "say what to segment: one of -i FOLDER, --image"),
        ([], "say what to segment: one of -i FOLDER, --image"),
        (["-i", "x", "--grid", "T1"], "--grid: for one patient (--image or --dicom), not for many"),
        (["--image", "FLAIR={0}", "--series", "T1=2"], "--series: for DICOM studies (--dicom)"),
        (["-i", "x", "--bids-suffix", "T1=T1w"], "--bids-suffix: for BIDS folders (--bids)"),
        (["--image", "FLAIR={0}", "--register", "rigid"], "--register needs --grid"),
        (["--image", "FLAIR={0}", "--grid", "T1c"], "--grid T1c: there is no T1c, there is FLAIR"),
        (["--image", "FLAIR={0}", "--grid", "PD"], "unknown modality 'PD'"),
        (["--image", "FLAIR={0}", "--weak-below", "2"], "--weak-below must be from 0 to 1, got 2.0"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(flags, message, scans, predict, tmp_path):
    given = [flag.format(scans / "flair.nii.gz") for flag in flags]
    code, out, err = predict(tmp_path / "out/seg.nii.gz", *given)
    assert (code, out) == (2, [])
    assert message in err[-1]
    assert not list(tmp_path.glob("out/*"))


def test_a_damaged_file_of_another_format_is_named(scans, predict, tmp_path):
    (scans / "t1c.mha").write_bytes((scans / "t1c.mha").read_bytes()[:2000])
    code, _, err = predict(tmp_path / "out/seg.nii.gz", *images(scans))
    assert code == 2
    assert "t1c.mha (T1c) is truncated or damaged" in err[-1]
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("out", "name the segmentation's file, ending in .mha, .nii, .nii.gz, .nrrd"),
        ("seg.png", "name the segmentation's file"),
        (".nii.gz", "name the segmentation's file"),
        ("scans/flair.nii.gz", "flair.nii.gz is one of the images"),
        ("theirs.nii.gz", "theirs.nii.gz is no result of magms_predict"),
        (".magms_x.nii.gz", "begins with .magms_"),
        ("a.nii.nii.gz", "SimpleITK would write a.nii.nii.gz under another name"),
    ],
)
def test_a_name_that_cannot_be_written(output, message, scans, predict, tmp_path):
    write_image(tmp_path / "theirs.nii.gz", voxels(5))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    code, _, err = predict(tmp_path / output, *images(scans))
    assert code == 2
    assert message in err[-1]
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_result_of_ours_is_replaced_with_all_that_lay_beside_it(scans, predict, tmp_path):
    assert predict(tmp_path / "seg.nii.gz", *images(scans))[0] == 0
    assert predict(tmp_path / "seg.nii.gz", "--image", f"T2={scans / 't2.nii'}")[0] == 0
    assert json.loads((tmp_path / "seg.json").read_text())["modalities_used"] == ["T2"]


def test_folders_have_uncertainty_and_previews_in_folders_of_their_own(scans, model, tmp_path, capfd):  # noqa: F811
    write_image(tmp_path / "in/p1_0000.nii.gz", voxels(0))
    arguments = ("-i", tmp_path / "in", "-o", tmp_path / "out", "-m", model, "-f", 0, "--disable_tta", *QUIET)
    assert main([*map(str, (*arguments, "--save_uncertainty", "--preview"))]) == 0
    assert files_in(tmp_path / "out/uncertainty") == {"p1.nii.gz"}
    assert files_in(tmp_path / "out/previews") == {"p1.png"}
    assert main([*map(str, arguments)]) == 0
    assert files_in(tmp_path / "out/uncertainty") | files_in(tmp_path / "out/previews") == set()


def test_in_python_a_patient_has_a_report(scans, model):  # noqa: F811
    predictor = Predictor(model, device="cpu", mirroring=False)
    given = {"FLAIR": scans / "flair.nii.gz", "T1c": sitk.ReadImage(scans / "t1c.mha")}
    result = predictor.predict_patient(given, probabilities=True, uncertainty=True)
    assert result.disagreement is None  # of one fold
    maps = result.probability_maps
    assert maps.keys() == {"label1", "label2"}
    np.testing.assert_array_equal(sitk.GetArrayFromImage(maps["label2"]), result.probabilities[2])
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(result.segmentation), sitk.GetArrayFromImage(predictor.predict(given))
    )
    assert result.probabilities.shape == (3, *sitk.GetArrayFromImage(result.segmentation).shape)
    np.testing.assert_array_equal(result.probabilities.argmax(0), sitk.GetArrayFromImage(result.segmentation))
    assert result.uncertainty.GetSize() == result.segmentation.GetSize()
    assert result.report["modalities_used"] == ["FLAIR", "T1c"]
    assert result.report["expected_dice"] is None
    assert result.report["volumes_mm3"].keys() == {"label1", "label2"}
    bare = predictor.predict_patient({"T1c": scans / "t1c.mha"})
    assert (bare.probabilities, bare.uncertainty, bare.probability_maps) == (None, None, None)
