"""From raw images to segmentations with nnU-Net's commands and ours."""

import json
import re
from dataclasses import asdict

import numpy as np
import pytest
import torch

from magms_nnunet.training.settings import Settings
from magms_nnunet.training.subset_law import SubsetLaw
from tests.integration.conftest import EPOCHS
from tests.integration.workspace import ENDING, give, read_probabilities, read_voxels

NUMBER = r"(-?\d+\.\d+)"


def epochs(log: str) -> list[int]:
    return [int(epoch) for epoch in re.findall(r": Epoch (\d+)\s*$", log, re.MULTILINE)]


@pytest.fixture(scope="module")
def checkpoint(workspace):
    return torch.load(workspace.model() / "fold_0" / "checkpoint_final.pth", weights_only=False)


def test_killed_training_continues_at_its_epoch_and_for_its_own_length(chain, checkpoint):
    assert epochs(chain.killed) == [0, 1, 2]
    assert epochs(chain.continued) == [2, 3]
    assert checkpoint["current_epoch"] == EPOCHS
    assert len(checkpoint["logging"]["train_losses"]) == EPOCHS


def test_learning_rate_goes_on_where_it_was(chain):
    rates = re.findall(rf"Current learning rate: {NUMBER}", chain.continued)
    cosine = [0.01 * (1 + np.cos(np.pi * (epoch + 0.5) / EPOCHS)) / 2 for epoch in (2, 3)]
    assert [float(rate) for rate in rates] == [pytest.approx(rate, abs=1e-5) for rate in cosine]


def test_log_states_modalities_settings_and_run_length(chain):
    for log in (chain.killed, chain.continued):
        (line,) = re.findall(r"magms_nnunet: (modalities .+)", log)
        assert "FLAIR, T1, T1c, T2" in line
        assert str(asdict(Settings())) in line
        assert f"{EPOCHS} epochs of 1 iterations, a checkpoint every 1 epochs" in line


def test_logged_terms_of_every_modality_add_up_to_the_loss(chain):
    last_epoch = chain.continued.split("Epoch 3")[1]
    terms = {
        name: [float(value) for value in values]
        for name, *values in re.findall(rf"train_loss (\w+): DC {NUMBER}, KL {NUMBER}, features {NUMBER}", last_epoch)
    }
    assert list(terms) == ["all", "FLAIR", "T1", "T1c", "T2"]
    assert terms["all"][1:] == [0, 0]
    assert all(min(kl, features) > 0 for name, (_, kl, features) in terms.items() if name != "all")
    (loss,) = re.findall(rf"train_loss {NUMBER}", last_epoch)
    assert np.sum(list(terms.values())) == pytest.approx(float(loss), abs=1e-3)


def test_checkpoint_holds_settings_and_run_length(checkpoint):
    assert checkpoint["init_args"]["magms"] == {
        "settings": asdict(Settings()),
        "run_length": {
            "num_epochs": EPOCHS,
            "save_every": 1,
            "num_iterations_per_epoch": 1,
            "num_val_iterations_per_epoch": 1,
        },
    }


def test_no_temporary_file_remains(workspace):
    assert list(workspace.results.rglob(".magms_*")) == []


def test_validation_repeats_no_epoch(chain):
    assert epochs(chain.validated) == []
    assert "Mean Validation Dice" in chain.validated


def test_any_subset_trainer_continues_and_states_its_law(any_subset_model, any_subset_logs):
    assert [epochs(log) for log in any_subset_logs] == [[0], [1], []]
    assert "Mean Validation Dice" in any_subset_logs[2]
    for log in any_subset_logs[:2]:
        assert f"law {asdict(SubsetLaw())}" in log
    content = torch.load(any_subset_model / "fold_0" / "checkpoint_final.pth", weights_only=False)
    assert content["current_epoch"] == 2
    assert content["init_args"]["magms"]["law"] == asdict(SubsetLaw())


@pytest.mark.parametrize("trainer", ["MAGMSTrainer", "AnySubsetTrainer"])
def test_validation_measures_what_magms_predict_gives(trainer, workspace, any_subset_model, predict, tmp_path):
    """nnU-Net's validation reads preprocessed files; we start from the raw ones."""
    (case,) = json.loads((workspace.preprocessed / "splits_final.json").read_text())[0]["val"]
    images = give(workspace.raw / "imagesTr", tmp_path / "images", {case: range(4)})
    assert predict(images, tmp_path / "out", "--save_probabilities", "-tr", trainer) == 0
    validation = workspace.model(trainer=trainer) / "fold_0" / "validation"
    assert (read_voxels(validation / f"{case}{ENDING}") == read_voxels(tmp_path / "out" / f"{case}{ENDING}")).all()
    probabilities = [read_probabilities(folder / f"{case}.npz") for folder in (validation, tmp_path / "out")]
    np.testing.assert_allclose(*probabilities, atol=1e-5)


def test_installed_command_predicts(workspace, predict, tmp_path):
    """In a process of its own, which starts processes of its own; in this one the result is the same."""
    model = (*workspace.of_magms, "-c", "3d_fullres", "-f", 0)
    workspace.run(
        "magms_predict", "-i", workspace.test, "-o", tmp_path / "ours", *model,
        "--modalities", "T1c", "F", "-device", "cpu", "-npp", 1, "-nps", 1,
    )  # fmt: skip
    flags = ("--save_probabilities",)
    assert predict(workspace.test, tmp_path / "ours_here", "--modalities", "T1c", "F", *flags) == 0
    assert predict(workspace.test, tmp_path / "complete_here", *flags) == 0
    for case in ("case5", "case6", "case7"):
        ours, ours_here = (read_voxels(tmp_path / folder / f"{case}{ENDING}") for folder in ("ours", "ours_here"))
        assert (ours == ours_here).all()
        pair, complete = (
            read_probabilities(tmp_path / folder / f"{case}.npz") for folder in ("ours_here", "complete_here")
        )
        assert np.abs(pair - complete).max() > 1e-3
