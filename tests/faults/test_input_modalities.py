"""Which modalities are meant, and which are there."""

import json
import shutil

import numpy as np
import pytest
import torch

from magms_nnunet.cli.evaluate import main as magms_evaluate
from magms_nnunet.evaluation import evaluate
from magms_nnunet.images.cases import Case
from magms_nnunet.preprocessing.subset import preprocess_case
from tests.faults.shared_models import CHECKPOINT
from tests.faults.tiny import FLAIR, SHAPE, SIDE_FILES, T1, T1C, T2, give, voxels
from tests.integration.workspace import ENDING, QUIET, files_in, read_voxels, write_image

# --- 1: --modalities names something that is not there, or not clear --------------------------------------------------


@pytest.mark.fault(1)
@pytest.mark.parametrize(
    ("tokens", "says"),
    [
        (["PET"], ["unknown modality 'PET'", "FLAIR, T1, T1c, T2"]),
        (["T1c", "FLAER"], ["unknown modality 'FLAER'", "did you mean FLAIR?"]),
        (["4"], ["unknown modality '4'", "FLAIR, T1, T1c, T2"]),
        (["T1c", "F", "t1ce"], ["T1c twice", "'T1c'", "'t1ce'"]),
        (["2", "T1c"], ["T1c twice", "'2'", "'T1c'"]),
        ([], ["--modalities is empty", "FLAIR, T1, T1c, T2"]),
        ([""], ["--modalities is empty", "FLAIR, T1, T1c, T2"]),
    ],
)
def test_modality_that_is_unknown_repeated_or_empty(tokens, says, magms_predict, tmp_path):
    images = give(tmp_path / "images", {"p1": [FLAIR, T1C]})
    code, (line,) = magms_predict(images, tmp_path / "out", "--modalities", *tokens)
    assert code == 2
    assert line.startswith("magms_predict: error: ")
    for words in says:
        assert words in line
    assert files_in(tmp_path / "out") == set()


@pytest.mark.fault(1)
def test_modality_that_could_be_two(model, magms_predict, tmp_path):
    shutil.copytree(model, tmp_path / "model")
    path = tmp_path / "model" / "dataset.json"
    names = {"0": "T2f", "1": "T1w", "2": "T1n", "3": "T2"}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"channel_names": names}))
    images = give(tmp_path / "images", {"p1": [FLAIR]})
    code, (line,) = magms_predict(images, tmp_path / "out", "-m", tmp_path / "model", "--modalities", "T1")
    assert code == 2
    assert "'T1' is ambiguous: it could be T1w (channel 1), T1n (channel 2); give the channel's number" in line
    assert files_in(tmp_path / "out") == set()


@pytest.fixture
def repeated(model, tmp_path):
    """A model of CT, CT, MR and PET."""
    folder = shutil.copytree(model, tmp_path / "repeated")
    dataset_json = json.loads((folder / "dataset.json").read_text())
    dataset_json["channel_names"] = dict(enumerate(("CT", "CT", "MR", "PET")))
    (folder / "dataset.json").write_text(json.dumps(dataset_json))
    checkpoint = torch.load(folder / CHECKPOINT, weights_only=False)
    checkpoint["init_args"]["dataset_json"] = dataset_json
    torch.save(checkpoint, folder / CHECKPOINT)
    return folder


@pytest.mark.fault(1)
def test_modalities_of_one_name_are_told_apart(repeated, magms_predict, tmp_path):
    images, out = give(tmp_path / "images", {"p1": range(4)}), tmp_path / "out"
    code, (line,) = magms_predict(images, out, "-m", repeated, "--modalities", "CT")
    assert code == 2
    assert "'CT' is ambiguous: it could be CT (0) (channel 0), CT (1) (channel 1); give the channel's number" in line
    assert magms_predict(images, out, "-m", repeated, "--modalities", "0") == (0, [])
    code, (line,) = magms_predict(images, out, "-m", repeated, "--modalities", "1", "--continue_prediction")
    assert code == 2
    assert "from other modalities" in line
    assert magms_predict(images, out, "-m", repeated, "--modalities", "0", "CT (1)") == (0, [])
    report = json.loads((out / "p1.json").read_text())
    assert report["files"] == {"CT (0)": f"p1_0000{ENDING}", "CT (1)": f"p1_0001{ENDING}"}
    assert report["modalities_absent"] == ["MR", "PET"]


@pytest.fixture
def evaluation(tmp_path):
    """evaluation(model): exit code of magms_evaluate on one case, into out."""
    images = give(tmp_path / "images", {"p1": range(4)})
    write_image(tmp_path / "labels" / f"p1{ENDING}", np.ones(SHAPE, np.uint8))

    def evaluation(model):
        arguments = ("-i", images, "-l", tmp_path / "labels", "-o", tmp_path / "out", "-m", model, "--disable_tta")
        return magms_evaluate([*map(str, (*arguments, *QUIET))])

    return evaluation


@pytest.mark.fault(1)
def test_subsets_of_modalities_of_one_name_are_all_scored(repeated, evaluation, tmp_path):
    assert evaluation(repeated) == 0
    subsets = list(json.loads((tmp_path / "out" / "summary.json").read_text())["subsets"])
    assert len(subsets) == 15
    assert subsets[:2] == ["CT (0)", "CT (1)"]


@pytest.mark.fault(1)
def test_evaluation_without_a_score_is_no_success(model, evaluation, monkeypatch, capfd):
    monkeypatch.setattr(evaluate, "score_cases", lambda *arguments: {})
    assert evaluation(model) == 1
    assert "none of 1 cases was scored, and none failed" in capfd.readouterr().err


# --- 2: some cases lack what was asked for ----------------------------------------------------------------------------


@pytest.mark.fault(2)
def test_files_that_a_system_leaves_are_passed_over(magms_predict, tmp_path):
    """macOS writes AppleDouble files beside all that it copies to disks of other kinds."""
    images = give(tmp_path / "images", {"p1": [FLAIR, T1C]})
    for path in [*images.iterdir()]:
        path.with_name(f"._{path.name}").write_bytes(bytes.fromhex("0005160700020000") + bytes(4088))
    (images / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (images / "__MACOSX").mkdir()
    code, (line,) = magms_predict(images, tmp_path / "out")
    assert code == 0
    hidden = f"._p1_0000{ENDING} and 1 more"
    assert line == f"magms_predict: warning: input folder {images}: hidden files are passed over ({hidden})"
    assert files_in(tmp_path / "out") == {f"p1{ENDING}", "p1.json"} | SIDE_FILES


@pytest.mark.fault(2)
def test_requested_file_that_some_cases_lack(magms_predict, tmp_path):
    images = give(tmp_path / "images", {"p1": [FLAIR, T1C], "p2": [FLAIR, T2], "p3": [FLAIR, T1C]})
    code, (line,) = magms_predict(images, tmp_path / "out", "--modalities", "T1c", "F")
    assert code == 3
    assert line.startswith(f"magms_predict: p2: T1c is missing (no p2_0002{ENDING}): add the file, or predict")
    assert "(FLAIR+T2)" in line
    wanted = {f"{case}{ending}" for case in ("p1", "p3") for ending in (ENDING, ".json")}
    assert files_in(tmp_path / "out") == wanted | SIDE_FILES
    for case in ("p1", "p3"):
        assert json.loads((tmp_path / "out" / f"{case}.json").read_text())["modalities_used"] == ["FLAIR", "T1c"]


@pytest.mark.fault(2)
@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("p2_0002.nii", "convert it to .nii.gz"),
        ("p2_0002.NII.GZ", "rename it"),
        ("p2_0002.mha", "convert it to .nii.gz"),
    ],
)
def test_image_with_another_ending_is_not_overlooked(name, remedy, magms_predict, tmp_path):
    images = give(tmp_path / "images", {"p1": [FLAIR], "p2": [FLAIR, T1C]})
    (images / f"p2_0002{ENDING}").rename(images / name)
    code, lines = magms_predict(images, tmp_path / "out")
    assert code == 3
    assert lines == [
        f"magms_predict: p2: {name} (T1c) would be overlooked, as the model reads .nii.gz: {remedy}, or move it away"
    ]
    assert files_in(tmp_path / "out") == {f"p1{ENDING}", "p1.json"} | SIDE_FILES
    assert magms_predict(images, tmp_path / "asked", "--modalities", "FLAIR") == (0, [])


@pytest.mark.fault(2)
def test_channel_in_digits_of_another_script_takes_no_files_place(magms_predict, tmp_path):
    images = give(tmp_path / "images", {"p1": [FLAIR, T1]})
    shutil.copy(images / f"p1_0000{ENDING}", images / f"p1_٠٠٠١{ENDING}")
    code, (line,) = magms_predict(images, tmp_path / "out")
    assert code == 3
    assert f"p1_٠٠٠١{ENDING}: belongs to no case" in line
    assert json.loads((tmp_path / "out" / "p1.json").read_text())["files"]["T1"] == f"p1_0001{ENDING}"


# --- 3: a channel that is not the first one comes alone ---------------------------------------------------------------


@pytest.mark.fault(3)
def test_later_channel_alone_is_that_channel(magms_predict, tmp_path):
    """As when that modality is picked from a complete case, and not as when it is taken for channel 0."""
    complete = give(tmp_path / "complete", {"p1": [FLAIR, T1, T1C, T2]})
    alone, as_first = tmp_path / "alone", tmp_path / "as_first"
    for folder, channel in ((alone, T1), (as_first, FLAIR)):
        folder.mkdir()
        shutil.copy(complete / f"p1_0001{ENDING}", folder / f"p1_{channel:04d}{ENDING}")
    assert magms_predict(complete, tmp_path / "out", "--modalities", "T1", "--save_probabilities") == (0, [])
    assert magms_predict(alone, tmp_path / "out_alone", "--save_probabilities") == (0, [])
    assert magms_predict(as_first, tmp_path / "out_first", "--save_probabilities") == (0, [])
    report = json.loads((tmp_path / "out_alone" / "p1.json").read_text())
    assert report["modalities_used"] == ["T1"]
    assert report["files"] == {"T1": f"p1_0001{ENDING}"}
    picked, lonely, first = (
        np.load(tmp_path / out / "p1.npz")["probabilities"] for out in ("out", "out_alone", "out_first")
    )
    assert np.array_equal(picked, lonely)
    assert np.abs(first - lonely).max() > 1e-3
    assert np.array_equal(
        read_voxels(tmp_path / "out" / f"p1{ENDING}"), read_voxels(tmp_path / "out_alone" / f"p1{ENDING}")
    )


@pytest.mark.fault(3)
def test_later_channel_alone_has_its_own_normalisation(model, tmp_path):
    """CT's fixed constants for T1, z-scores for the others: (100 - 40) / 20 = 3 at most after clipping to 0 ... 100."""
    plans = json.loads((model / "plans.json").read_text())
    plans["configurations"]["tiny"]["normalization_schemes"][T1] = "CTNormalization"
    plans["foreground_intensity_properties_per_channel"]["1"] |= {
        "mean": 40.0,
        "std": 20.0,
        "percentile_00_5": 0.0,
        "percentile_99_5": 100.0,
    }
    write_image(tmp_path / "p1_0001.nii.gz", voxels(0), (1.0, 1.0, 1.0))
    case = Case("p1", {T1: tmp_path / "p1_0001.nii.gz"})
    data, _ = preprocess_case(case, (T1,), plans, "tiny", json.loads((model / "dataset.json").read_text()))
    assert data.shape[0] == 1
    assert (data.max(), data.min()) == (3.0, -2.0)
