from dataclasses import replace
from pathlib import Path

import pytest
import torch

from magms_nnunet.errors import InputError
from magms_nnunet.inference.request import ModelRequest, WindowRequest, check_output
from magms_nnunet.modalities import Modalities
from magms_nnunet.runtime import cores
from magms_nnunet.trainers import MAGMSTrainer
from tests.inference.test_predictor import trained

BY_NAME = ModelRequest(
    None, "Dataset901_Balls", "3d_fullres", "MAGMSTrainer", "MAGMSPlans", (0,), "checkpoint_final.pth"
)
WINDOW = WindowRequest("cpu", 0.5, True, True, False, None)


@pytest.fixture
def results(tmp_path, monkeypatch):
    """nnUNet_results with two trained models."""
    for kind in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{kind}", str(tmp_path / kind))
    folder = tmp_path / "results/Dataset901_Balls"
    for name in ("MAGMSTrainer__MAGMSPlans__3d_fullres", "nnUNetTrainer__nnUNetPlans__2d"):
        (folder / name).mkdir(parents=True)
    return folder


def test_a_model_by_its_names_is_where_nnunet_keeps_it(results):
    expected = results / "MAGMSTrainer__MAGMSPlans__3d_fullres"
    assert BY_NAME.folder() == expected
    assert replace(BY_NAME, dataset="901").folder() == expected


def test_without_a_trainer_it_is_the_only_one(results):
    unnamed = replace(BY_NAME, trainer=None)
    assert unnamed.folder() == results / "MAGMSTrainer__MAGMSPlans__3d_fullres"
    (results / "MAGMSTrainer__MAGMSPlans__3d_fullres").rename(results / "HeMISTrainer__MAGMSPlans__3d_fullres")
    assert unnamed.folder() == results / "HeMISTrainer__MAGMSPlans__3d_fullres"
    with pytest.raises(InputError, match=r"no trained model AnySubsetTrainer__MAGMSPlans__2d in .*; there is"):
        replace(unnamed, configuration="2d").folder()
    (results / "MAGMSTrainer__MAGMSPlans__3d_fullres").mkdir()
    with pytest.raises(InputError, match="say which with -tr: HeMISTrainer, MAGMSTrainer"):
        unnamed.folder()


def test_a_model_by_its_folder_needs_none_of_nnunets_variables(tmp_path, monkeypatch):
    monkeypatch.delenv("nnUNet_results", raising=False)
    (tmp_path / "mine").mkdir()
    assert replace(BY_NAME, model=tmp_path / "mine", dataset=None, configuration=None).folder() == tmp_path / "mine"


PLANS = {
    "configurations": {"2d": {"patch_size": [8, 8]}, "3d": {"patch_size": [8, 8, 8]}, "next": {"inherits_from": "3d"}}
}


@pytest.mark.parametrize(("configuration", "volumes"), [("2d", False), ("3d", True), ("next", True), ("gone", False)])
@pytest.mark.parametrize("named", [True, False])
def test_the_configuration_is_in_the_folders_name_or_in_the_checkpoint(configuration, volumes, named, tmp_path):
    model = tmp_path / (f"T__P__{configuration}" if named else "mine")
    (model / "fold_0").mkdir(parents=True)
    if not named:
        torch.save({"init_args": {"configuration": configuration}}, model / "fold_0/checkpoint_final.pth")
    assert (
        replace(BY_NAME, model=model, configuration="3d" if configuration == "2d" else "2d").reads_volumes(PLANS)
        is volumes
    )


@pytest.mark.parametrize("plans", ["P", "ptPlans__X", "a__b__c"])
def test_plans_may_have_two_underscores_in_their_name(plans, tmp_path):
    model = tmp_path / f"T__{plans}__3d"
    model.mkdir()
    assert replace(BY_NAME, model=model, configuration="2d").reads_volumes(PLANS)


def test_a_checkpoint_that_cannot_tell_the_configuration(tmp_path):
    mine = replace(BY_NAME, model=tmp_path / "mine")
    checkpoint = tmp_path / "mine/fold_0/checkpoint_final.pth"
    checkpoint.parent.mkdir(parents=True)
    assert mine.reads_volumes(PLANS) is False
    torch.save({"init_args": 3}, checkpoint)
    assert mine.reads_volumes(PLANS) is False
    checkpoint.write_bytes(b"damaged")
    with pytest.raises(InputError, match="damaged"):
        mine.reads_volumes(PLANS)


def test_the_folder_that_one_stands_in_has_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert replace(BY_NAME, model=Path(".")).folder().name == tmp_path.name


def test_a_model_that_is_not_trained_lists_those_that_are(results):
    with pytest.raises(InputError) as caught:
        replace(BY_NAME, configuration="2d").folder()
    assert str(caught.value) == (
        f"no trained model MAGMSTrainer__MAGMSPlans__2d in {results}; there is MAGMSTrainer__MAGMSPlans__3d_fullres, "
        "nnUNetTrainer__nnUNetPlans__2d: see -tr, -p and -c"
    )
    with pytest.raises(InputError, match="there is nothing"):
        replace(BY_NAME, dataset="Dataset902_None").folder()


def test_an_unknown_dataset_is_one_line_with_those_that_are_there(results):
    with pytest.raises(InputError) as caught:
        replace(BY_NAME, dataset="999").folder()
    there = f"nnUNet_results ({results.parent}) holds Dataset901_Balls"
    assert str(caught.value) == f"-d 999: no dataset has this id; {there}"
    with pytest.raises(InputError, match=r"^-d balls: give an id such as 210, or a full name such as Dataset210_"):
        replace(BY_NAME, dataset="balls").folder()
    (results.parent / "Dataset901_Cubes").mkdir()
    with pytest.raises(InputError, match=r"^-d 901: Dataset901_Balls and Dataset901_Cubes have this id: give the full"):
        replace(BY_NAME, dataset="901").folder()


@pytest.mark.parametrize(("fill", "tokens"), [("zero", ["T1"]), ("mean", ["T1", "T2"])])
def test_a_model_of_a_trainer_that_we_do_not_know_is_told_by_its_weights(fill, tokens, tmp_path):
    window, modalities = replace(WINDOW, fill=fill), Modalities(("T1", "T2"))
    subset = modalities.parse(tokens)
    request = replace(BY_NAME, model=tmp_path / "Theirs__P__3d")
    checkpoint = request.model / "fold_0/checkpoint_final.pth"
    checkpoint.parent.mkdir(parents=True)
    torch.save({"trainer_name": "Theirs", "network_weights": {"encoders.0.w": torch.zeros(1)}}, checkpoint)
    request.check(WINDOW, subset, modalities)
    with pytest.raises(InputError, match=r"^Theirs takes any subset as it is: leave out --fill$"):
        request.check(window, subset, modalities)
    torch.save({"trainer_name": "Theirs", "network_weights": {"encoder.w": torch.zeros(1)}}, checkpoint)
    request.check(window, subset, modalities)
    request.check(WINDOW, None, modalities)
    with pytest.raises(InputError, match=r"^Theirs needs all modalities and there is no T2: fill it up"):
        request.check(WINDOW, (0,), modalities)


def test_a_variable_that_is_not_set_is_named(monkeypatch):
    monkeypatch.delenv("nnUNet_results", raising=False)
    with pytest.raises(InputError, match="nnUNet_results is not set: export nnUNet_results=FOLDER"):
        BY_NAME.folder()


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match=f"-device {device}: .*use -device cpu"):
        replace(WINDOW, device=device).prepare_device()


@pytest.mark.parametrize(
    ("device", "gpu", "limit", "threads"),
    [
        ("cpu", False, None, [7]),
        (None, False, None, [7]),
        ("cpu", True, None, [7]),
        ("cpu", False, "1", [1]),
        ("cpu", False, "9", [7]),
        (None, True, None, []),
        ("cuda", True, None, []),
    ],
)
def test_the_cpu_works_with_the_cores_that_it_may_use_or_fewer(device, gpu, limit, threads, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if limit:
        monkeypatch.setenv("OMP_NUM_THREADS", limit)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(cores, "available_cores", lambda: 7)
    taken = []
    monkeypatch.setattr(torch, "set_num_threads", taken.append)
    replace(WINDOW, device=device).prepare_device()
    assert taken == threads


def test_every_setting_reaches_the_sliding_window(tmp_path):
    model = trained(MAGMSTrainer, tmp_path)
    predictor = WindowRequest("cpu", 0.25, False, False, True, None).predictor(model)
    window = predictor._sliding_window
    assert (window.tile_step_size, window.use_mirroring, window.verbose) == (0.25, False, True)
    assert window.perform_everything_on_device is False
    assert predictor.settings == {"step_size": 0.25, "mirroring": False}
    with pytest.raises(InputError, match="leave out --fill"):
        replace(WINDOW, fill="mean").predictor(model)


def test_the_output_folder_is_made_and_left_empty(tmp_path):
    check_output(tmp_path / "a/b", tmp_path)
    assert list((tmp_path / "a/b").iterdir()) == []
    check_output(tmp_path / "a/b", None)


@pytest.mark.parametrize("output", ["images", "images/../images", "link"])
def test_the_output_must_not_be_the_input(output, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "images")
    with pytest.raises(InputError, match="same folder"):
        check_output(tmp_path / output, tmp_path / "images")


def test_an_output_that_is_a_file_or_cannot_be_written_to(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write to output folder .*file \(File exists\): choose another -o"):
        check_output(tmp_path / "file", None)

    def refused(dir: Path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    with pytest.raises(InputError, match=r"\(Permission denied\)"):
        check_output(tmp_path / "out", None)
