"""What is wrong is said in one line that names it, ends with the right exit code and leaves nothing half-written."""

import json
import shutil

import numpy as np
import pytest
import torch

from tests.integration.workspace import ENDING, SHAPE, files_in, give, write_image

T1C = f"case6_0002{ENDING}"


@pytest.fixture
def refusal(predict, workspace, tmp_path, capfd):
    """refusal(*flags, images=...): the line on stderr of a prediction that is refused as a whole."""

    def refusal(*flags, images=workspace.test, output=tmp_path / "out"):
        capfd.readouterr()
        assert predict(images, output, *flags) == 2
        assert files_in(tmp_path / "out") == set()
        usage_and_error = capfd.readouterr().err
        assert "Traceback" not in usage_and_error
        *usage, line = usage_and_error.splitlines()
        assert all(line.startswith(("usage: magms_predict", " ")) for line in usage)
        assert line.startswith("magms_predict: error: ")
        return line

    return refusal


@pytest.fixture
def model_copy(workspace, tmp_path):
    """A folder of the model's plans, dataset.json and fold 0, to be spoilt."""
    folder = tmp_path / "model"
    (folder / "fold_0").mkdir(parents=True)
    for name in ("plans.json", "dataset.json", "fold_0/checkpoint_final.pth"):
        shutil.copy(workspace.model() / name, folder / name)
    return folder


@pytest.fixture
def refusal_of_model(workspace, model_copy, tmp_path, capfd):
    """refusal_of_model(*flags): as ``refusal``, with the spoilt copy of the model."""

    def refusal_of_model(*flags):
        capfd.readouterr()
        arguments = ("-i", workspace.test, "-o", tmp_path / "out", "-m", model_copy, "-f", 0, *flags)
        assert workspace.magms_predict(*arguments) == 2
        assert files_in(tmp_path / "out") == set()
        (line,) = capfd.readouterr().err.splitlines()
        return line

    return refusal_of_model


# --- the flags -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("-f 3", ["checkpoint_final.pth for fold 3", "give -f 0"]),
        ("-f zero", ["-f", "'zero'"]),
        ("-chk checkpoint_none.pth", ["no checkpoint_none.pth for fold 0", "-chk"]),
        ("-num_parts 2 -part_id 2", ["-part_id must be from 0 to num_parts - 1 = 1", "got 2"]),
        ("-num_parts 2 -part_id -1", ["-part_id must be from 0 to num_parts - 1 = 1", "got -1"]),
        ("-num_parts 0", ["-num_parts must be 1 or more, got 0"]),
        ("-step_size 0", ["-step_size", "got 0"]),
        ("-npp -1", ["-npp and -nps must be 0 or more"]),
        ("-d 902", ["-d 902", "902"]),
        ("-d Dataset902_None", ["Dataset902_None"]),
        ("-d balls", ["-d balls"]),
        ("-c 3d_nowhere", ["MAGMSTrainer__MAGMSPlans__3d_nowhere", "MAGMSTrainer__MAGMSPlans__3d_fullres", "-c"]),
        ("-p NonePlans", ["MAGMSTrainer__NonePlans__3d_fullres", "-p"]),
        ("-m nowhere", ["-d DATASET -c CONFIGURATION", "-m FOLDER"]),
    ],
)
def test_flags_that_mean_nothing(flags, says, refusal):
    line = refusal(*flags.split())
    for words in says:
        assert words in line


def test_gpu_that_is_not_there(workspace, tmp_path, monkeypatch, capfd):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA GPU")
    from magms_nnunet.cli.predict import main

    for name, value in workspace.variables.items():
        monkeypatch.setenv(name, value)
    model = [*workspace.of_magms, "-c", "3d_fullres", "-f", "0", "-device", "cuda", "--disable_progress_bar"]
    assert main(["-i", str(workspace.test), "-o", str(tmp_path / "out"), *model]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "-device cuda" in line
    assert "use -device cpu" in line
    assert files_in(tmp_path) == set()


def test_nnunet_results_is_not_set(predict, workspace, tmp_path, capfd, monkeypatch):
    monkeypatch.delitem(workspace.variables, "nnUNet_results")
    monkeypatch.delenv("nnUNet_results", raising=False)
    assert predict(workspace.test, tmp_path / "out") == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "nnUNet_results is not set: export nnUNet_results=FOLDER" in line


def test_debug_shows_where_an_error_came_from(predict, workspace, tmp_path, capfd):
    assert predict(workspace.test, tmp_path / "out", "--debug", "--modalities", "PET") == 2
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1].startswith("magms_predict: error: unknown modality")


# --- the folders -----------------------------------------------------------------------------------------------------


def test_output_is_the_input(workspace, predict, tmp_path, capfd):
    images = give(workspace.test, tmp_path / "images", {"case5": [0, 1]})
    before = files_in(images)
    assert predict(images, tmp_path / "images" / ".." / "images") == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "-i and -o are the same folder" in line
    assert files_in(images) == before


def test_output_cannot_be_written(refusal, tmp_path):
    (tmp_path / "file").touch()
    line = refusal(output=tmp_path / "file" / "below")
    assert f"cannot write to output folder {tmp_path / 'file' / 'below'}" in line
    assert "choose another -o" in line


@pytest.mark.parametrize("name", [None, "notes.txt", "case5_T1c.nii.gz", "case5_0000.nii", "case5.nii.gz"])
def test_folder_without_images(name, refusal, tmp_path):
    (tmp_path / "images").mkdir()
    if name:
        (tmp_path / "images" / name).touch()
    line = refusal(images=tmp_path / "images")
    assert f"no images in {tmp_path / 'images'}" in line
    assert f"CASE_XXXX{ENDING}" in line


def test_input_folder_that_does_not_exist(refusal, tmp_path):
    assert f"input folder {tmp_path / 'nowhere'} does not exist" in refusal(images=tmp_path / "nowhere")


# --- the model -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["folder", "name"])
def test_stock_model_and_a_subset_without_filling(by, workspace, stock_model, tmp_path, capfd):
    model = {"folder": ("-m", stock_model), "name": ("-d", workspace.id, "-c", "3d_fullres", "-tr", "nnUNetTrainer")}
    capfd.readouterr()
    flags = ("-i", workspace.test, "-o", tmp_path / "out", *model[by], "-f", 0, "--modalities", "T1c")
    assert workspace.magms_predict(*flags) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "nnUNetTrainer needs all modalities and there is no FLAIR+T1+T2: fill it up with --fill zero" in line
    assert files_in(tmp_path / "out") == set()


def test_model_of_subsets_is_not_filled(any_subset_model, refusal):
    line = refusal("-tr", "AnySubsetTrainer", "--fill", "zero", "--modalities", "T1c")
    assert "AnySubsetTrainer takes any subset as it is: leave out --fill" in line


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_model_with_fewer_channels_in_dataset_json_than_in_its_plans(model_copy, refusal_of_model):
    edit(model_copy / "dataset.json", lambda content: content["channel_names"].pop("3"))
    line = refusal_of_model("--modalities", "T1c")
    assert "plans.json is for 4 modalities, dataset.json names 3 (FLAIR, T1, T1c)" in line


def test_model_with_fewer_channels_in_json_files_than_in_its_weights(model_copy, refusal_of_model):
    def drop_last_scheme(plans):
        for configuration in plans["configurations"].values():
            configuration["normalization_schemes"].pop()
            configuration["use_mask_for_norm"].pop()

    edit(model_copy / "plans.json", drop_last_scheme)
    edit(model_copy / "dataset.json", lambda content: content["channel_names"].pop("3"))
    line = refusal_of_model("--modalities", "T1c")
    assert "4 encoders for 3 modalities" in line
    assert "checkpoint_final.pth" in line


@pytest.mark.parametrize("name", ["plans.json", "dataset.json"])
@pytest.mark.parametrize(("content", "says"), [(None, "is not a trained model"), ("{", "not valid JSON")])
def test_model_with_a_missing_or_broken_json_file(name, content, says, model_copy, refusal_of_model):
    (model_copy / name).unlink() if content is None else (model_copy / name).write_text(content)
    line = refusal_of_model()
    assert says in line
    assert name in line


@pytest.mark.parametrize("size", [0, 100, 10_000])
def test_truncated_checkpoint(size, model_copy, refusal_of_model):
    path = model_copy / "fold_0" / "checkpoint_final.pth"
    path.write_bytes(path.read_bytes()[:size])
    assert f"{path} is damaged or not a checkpoint of nnU-Net" in refusal_of_model()


def test_checkpoint_of_something_else(model_copy, refusal_of_model):
    torch.save({"weights": torch.zeros(3)}, model_copy / "fold_0" / "checkpoint_final.pth")
    assert "is not a checkpoint of nnU-Net: it lacks" in refusal_of_model()


# --- the cases -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [(), ("--modalities", "T1c")])
def test_no_usable_modality_at_all(flags, predict, tmp_path, capfd):
    write_image(tmp_path / "images" / f"case5_0004{ENDING}", np.ones(SHAPE, np.float32))
    assert predict(tmp_path / "images", tmp_path / "out", *flags) == 3
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("magms_predict: case5: ")
    assert (
        "T1c is missing" if flags else "is channel 4, but the model has channels 0 to 3 (FLAIR, T1, T1c, T2)"
    ) in line
    assert files_in(tmp_path / "out") == set()
