"""Every kind of dataset and plans that nnU-Net knows: plan, train, and predict from all modalities and from one."""

import re

import numpy as np
import pytest
import torch

from tests.faults.tiny import SIDE_FILES
from tests.integration.workspace import (
    ENDING,
    Dataset,
    Workspace,
    files_in,
    give,
    read_probabilities,
    read_voxels,
    write_image,
)

REGIONS = {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}


def check_predictions(workspace, configuration, *flags, alone, tmp_path, labels=(0, 1, 2)):
    """All modalities as nnU-Net predicts them; one alone, from a folder with nothing else, without complaint."""
    model = ("-d", workspace.id, "-c", configuration, "-f", 0, "-tr", "MAGMSTrainer", "-p", "MAGMSPlans", *flags)
    channel, name = alone
    case = min(path.name for path in workspace.test.iterdir())[: -len(f"_0000{ENDING}")]
    single = give(workspace.test, tmp_path / "single", {case: [channel]})
    model += ("--save_probabilities",)
    assert workspace.magms_predict("-i", workspace.test, "-o", tmp_path / "ours", *model) == 0
    workspace.nnunet_predict("-i", workspace.test, "-o", tmp_path / "nnunet", *model)
    assert workspace.magms_predict("-i", single, "-o", tmp_path / "alone", *model, "--modalities", name) == 0

    ours, nnunet, one = (read_probabilities(tmp_path / out / f"{case}.npz") for out in ("ours", "nnunet", "alone"))
    # nnU-Net's export uses eight threads and ours one, and where a thread's share ends a softmax rounds otherwise.
    np.testing.assert_allclose(ours, nnunet, rtol=0, atol=1e-6)
    assert np.isfinite(one).all()
    assert set(np.unique(read_voxels(tmp_path / "ours" / f"{case}{ENDING}"))) <= set(labels)
    assert read_voxels(tmp_path / "alone" / f"{case}{ENDING}").shape == Dataset.shape
    return np.abs(ours - one).max()


def logged_terms(workspace, *model) -> np.ndarray:
    """``(M + 1, 3)`` of the last epoch: DC, KL, features."""
    log = max((workspace.model(*model) / "fold_0").glob("training_log*")).read_text()
    terms = re.findall(r"train_loss \w+: DC (\S+), KL (\S+), features (\S+)", log)
    return np.array(terms, float)


@pytest.fixture(scope="module")
def prostate(tmp_path_factory):
    """Three modalities that are no brain sequences; 2d and 3d_fullres."""
    workspace = Workspace(tmp_path_factory.mktemp("prostate"), Dataset(modalities=("ADC", "T2W", "HBV")))
    workspace.plan("2d", "3d_fullres")
    return workspace


@pytest.mark.parametrize(
    ("configuration", "trainer"),
    [("2d", "MAGMSTrainer"), ("3d_fullres", "MAGMSTrainer"), ("2d", "AnySubsetTrainer")],
)
def test_three_modalities_in_2d_and_3d(configuration, trainer, prostate, tmp_path):
    prostate.train(configuration, trainer=trainer)
    alone = (2, "hbv")
    assert check_predictions(prostate, configuration, "-tr", trainer, alone=alone, tmp_path=tmp_path) > 1e-3
    assert trainer == "AnySubsetTrainer" or logged_terms(prostate, configuration).shape == (4, 3)


def test_mag_trainer_does_not_distil(prostate, tmp_path):
    prostate.train(trainer="MAGTrainer")
    assert check_predictions(prostate, "3d_fullres", "-tr", "MAGTrainer", alone=(0, "ADC"), tmp_path=tmp_path) > 1e-3
    terms = logged_terms(prostate, "3d_fullres", "MAGTrainer")
    assert (terms[:, 0] > 0).all()
    assert (terms[:, 1:] == 0).all()


@pytest.mark.parametrize(("trainer", "encoder"), [("MAGMSTrainer", "encoders.2"), ("AnySubsetTrainer", "encoder")])
def test_residual_encoders(trainer, encoder, prostate, tmp_path):
    plans = "MAGMSResEncUNetMPlans"
    if not (prostate.preprocessed / f"{plans}.json").exists():
        prostate.plan("3d_fullres", planner="MAGMSPlannerResEncM")
    prostate.train(trainer=trainer, plans=plans)
    flags = ("-p", plans, "-tr", trainer)
    assert check_predictions(prostate, "3d_fullres", *flags, alone=(1, "t2w"), tmp_path=tmp_path) > 1e-3
    model = prostate.model(trainer=trainer, plans=plans)
    weights = torch.load(model / "fold_0" / "checkpoint_final.pth", weights_only=False)
    assert f"{encoder}.stages.0.blocks.0.conv1.conv.weight" in weights["network_weights"]


def test_one_modality(tmp_path):
    """CT: its normalisation takes constants from the plans, by channel."""
    workspace = Workspace(tmp_path, Dataset(modalities=("CT",)))
    workspace.plan("3d_fullres")
    workspace.train()
    assert check_predictions(workspace, "3d_fullres", alone=(0, "CT"), tmp_path=tmp_path) == 0


@pytest.fixture(scope="module")
def regions(tmp_path_factory):
    """Two modalities, two regions, and voxels without annotation."""
    dataset = Dataset(modalities=("T1", "CT"), labels=REGIONS, regions_class_order=(1, 2))
    workspace = Workspace(tmp_path_factory.mktemp("regions"), dataset)
    workspace.plan("3d_fullres")
    workspace.train("3d_fullres", 0, "--npz")
    return workspace


def test_any_subset_trainer_takes_regions_with_ignore_label(regions, tmp_path):
    trainer = "AnySubsetTrainer"
    regions.train("3d_fullres", 0, "--npz", trainer=trainer)
    assert check_predictions(regions, "3d_fullres", "-tr", trainer, alone=(1, "CT"), tmp_path=tmp_path) > 1e-3
    validation = regions.model(trainer=trainer) / "fold_0" / "validation"
    assert read_probabilities(validation / "case2.npz").shape == (2, *Dataset.shape)


def test_regions_with_ignore_label(regions, tmp_path):
    assert check_predictions(regions, "3d_fullres", alone=(1, "CT"), tmp_path=tmp_path) > 1e-3
    terms = logged_terms(regions)
    assert np.isfinite(terms).all()
    assert (terms[1:, 1:] > 0).all()
    validation = regions.model() / "fold_0" / "validation"
    assert read_probabilities(validation / "case2.npz").shape == (2, *Dataset.shape)  # one per region


@pytest.mark.parametrize(("channel", "name", "matters"), [(0, "T1", False), (1, "CT", True)])
def test_modality_alone_is_normalised_by_its_own_scheme(channel, name, matters, regions, tmp_path):
    """Twice the intensities are the same MR image, whose scale is arbitrary, but another CT."""
    path = give(regions.test, tmp_path / "once", {"case3": [channel]}) / f"case3_{channel:04d}{ENDING}"
    write_image(tmp_path / "twice" / path.name, 2 * read_voxels(path))
    model = (*regions.of_magms, "-c", "3d_fullres", "-f", 0, "--save_probabilities", "--modalities", name)
    for folder in ("once", "twice"):
        assert regions.magms_predict("-i", tmp_path / folder, "-o", tmp_path / folder / "out", *model) == 0
    once, twice = (read_probabilities(tmp_path / folder / "out" / "case3.npz") for folder in ("once", "twice"))
    assert (np.abs(once - twice).max() > 1e-3) == matters


@pytest.fixture(scope="module")
def cascade(tmp_path_factory):
    """Both stages trained, the first one on all cases, as the second one's training needs its predictions of all."""
    workspace = Workspace(tmp_path_factory.mktemp("cascade"), Dataset(modalities=("T1", "T2"), test_cases=2))
    workspace.plan("3d_fullres")
    workspace.plan_cascade()
    workspace.train("3d_lowres", "all")
    workspace.train("3d_cascade_fullres", 0)
    return workspace


@pytest.fixture
def previous_stage(cascade, tmp_path):
    """The first stage's segmentations of the test cases, from T1 alone."""
    model = (*cascade.of_magms, "-c", "3d_lowres", "-f", "all", "--modalities", "T1")
    assert cascade.magms_predict("-i", cascade.test, "-o", tmp_path / "previous", *model) == 0
    return tmp_path / "previous"


def test_cascade(cascade, previous_stage, tmp_path):
    flags = ("-prev_stage_predictions", previous_stage)
    assert check_predictions(cascade, "3d_cascade_fullres", *flags, alone=(0, "T1"), tmp_path=tmp_path) > 1e-3


def test_cascade_of_any_subset_trainer(cascade, previous_stage, tmp_path):
    """Its second stage trains on what its own first stage predicts."""
    trainer = "AnySubsetTrainer"
    cascade.train("3d_lowres", "all", trainer=trainer)
    cascade.train("3d_cascade_fullres", 0, trainer=trainer)
    flags = ("-tr", trainer, "-prev_stage_predictions", previous_stage)
    assert check_predictions(cascade, "3d_cascade_fullres", *flags, alone=(0, "T1"), tmp_path=tmp_path) > 1e-3


def test_cascade_follows_its_previous_stage(cascade, previous_stage, tmp_path):
    model = (*cascade.of_magms, "-c", "3d_cascade_fullres", "-f", 0, "--save_probabilities", "--modalities", "T1")
    other = tmp_path / "other"
    for case, source in {"case3": "case4", "case4": "case3"}.items():
        other.mkdir(exist_ok=True)
        (other / f"{case}{ENDING}").write_bytes((previous_stage / f"{source}{ENDING}").read_bytes())
    for name, previous in {"right": previous_stage, "wrong": other}.items():
        flags = (*model, "-prev_stage_predictions", previous)
        assert cascade.magms_predict("-i", cascade.test, "-o", tmp_path / name, *flags) == 0
    right, wrong = (read_probabilities(tmp_path / name / "case3.npz") for name in ("right", "wrong"))
    assert np.abs(right - wrong).max() > 1e-3


def test_cascade_is_evaluated_on_what_its_previous_stage_made_of_the_same_subset(cascade, tmp_path, capfd):
    images, labels = cascade.raw / "imagesTr", cascade.raw / "labelsTr"
    flags = ("-i", images, "-l", labels, "--subsets", "T1", "--protocol", "absent", "--save_segmentations")
    model = (*cascade.of_magms, "--disable_tta", "-c")
    assert cascade.magms_evaluate("-o", tmp_path / "first", *model, "3d_lowres", "-f", "all", *flags) == 0
    second = ("-o", tmp_path / "second", *model, "3d_cascade_fullres", *flags, "-prev_stage_predictions")
    capfd.readouterr()
    assert cascade.magms_evaluate(*second, tmp_path / "first") == 2
    assert "first has no folder T1: give the segmentations folder that" in capfd.readouterr().err
    assert cascade.magms_evaluate(*second, tmp_path / "first/segmentations") == 0
    alone = ("-f", 0, "--modalities", "T1", "-prev_stage_predictions", tmp_path / "first/segmentations/T1")
    assert cascade.magms_predict("-i", images, "-o", tmp_path / "out", *model, "3d_cascade_fullres", *alone) == 0
    for case in ("case0", "case1", "case2"):
        predicted = read_voxels(tmp_path / "out" / f"{case}{ENDING}")
        np.testing.assert_array_equal(read_voxels(tmp_path / "second/segmentations/T1" / f"{case}{ENDING}"), predicted)


def test_cascade_without_the_previous_stage_of_one_case(cascade, previous_stage, tmp_path, capfd):
    (previous_stage / f"case3{ENDING}").unlink()
    capfd.readouterr()
    model = (*cascade.of_magms, "-c", "3d_cascade_fullres", "-f", 0, "-prev_stage_predictions", previous_stage)
    assert cascade.magms_predict("-i", cascade.test, "-o", tmp_path / "out", *model) == 3
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"magms_predict: case3: no case3{ENDING} in {previous_stage}")
    assert files_in(tmp_path / "out") == {f"case4{ENDING}", "case4.json", *SIDE_FILES}


@pytest.mark.parametrize(
    ("configuration", "message"), [("3d_cascade_fullres", "is a cascade"), ("3d_lowres", "has no")]
)
def test_previous_stage_where_there_is_none(configuration, message, cascade, previous_stage, tmp_path, capfd):
    capfd.readouterr()
    model = [*cascade.of_magms, "-c", configuration, "-f", 0]
    if configuration == "3d_lowres":
        model += ["-f", "all", "-prev_stage_predictions", previous_stage]
    assert cascade.magms_predict("-i", cascade.test, "-o", tmp_path / "out", *model) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert message in line
    assert "-prev_stage_predictions" in line


def test_stock_trainer_trains_and_predicts_with_our_plans(workspace, stock_model, tmp_path):
    assert (stock_model / "fold_0" / "checkpoint_final.pth").is_file()
    model = ("-d", workspace.id, "-c", "3d_fullres", "-f", 0, "-tr", "nnUNetTrainer", "-p", "MAGMSPlans")
    workspace.nnunet_predict("-i", workspace.test, "-o", tmp_path, *model)
    assert {f"case{number}{ENDING}" for number in (5, 6, 7)} <= files_in(tmp_path)
