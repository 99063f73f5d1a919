import inspect
import json
from functools import partial

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from magms_nnunet.preprocessing.available_modalities import AvailableModalities
from magms_nnunet.trainers.unetr_trainers import MAGMSUNETRTrainer, MAGUNETRTrainer, UNETRTrainer
from tests.integration.workspace import ENDING, Dataset, Workspace, read_voxels
from tests.networks.test_unetr import TINY
from tests.trainers.conftest import LABELS, REGIONS, batch

TRAINERS = [UNETRTrainer, MAGUNETRTrainer, MAGMSUNETRTrainer]


@pytest.fixture(scope="module", autouse=True)
def _tiny():
    pytest.importorskip("monai", reason="the extra `unetr` is not installed")
    from magms_nnunet.networks import unetr

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unetr, "UNETR", partial(unetr.UNETR, **TINY))
        yield


def one_scale(trainer, dim=3):
    whole = batch(trainer, dim)
    return {"data": whole["data"], "target": whole["target"][0]}


@pytest.mark.parametrize("trainer_class", TRAINERS)
def test_the_constructor_is_nnunets(trainer_class):
    assert inspect.signature(trainer_class.__init__).parameters.keys() == (
        inspect.signature(nnUNetTrainer.__init__).parameters.keys()
    )


@pytest.mark.parametrize("trainer_class", TRAINERS)
@pytest.mark.parametrize(
    ("dim", "dataset_json"),
    [(2, {"labels": {**LABELS, "ignore": 3}}), (3, {}), (3, REGIONS)],
    ids=["2D, ignore", "3D", "3D, regions"],
)
def test_steps_learn(make_trainer, trainer_class, dim, dataset_json):
    trainer = make_trainer(trainer_class, dim=dim, **dataset_json)
    trainer.initial_lr = 3e-3  # so few weights learn slowly
    trainer.optimizer, trainer.lr_scheduler = trainer.configure_optimizers()
    trainer.network.train()
    losses = [trainer.train_step(one_scale(trainer, dim))["loss"] for _ in range(8)]
    assert losses[-1] < losses[0]
    trainer.network.eval()
    with torch.no_grad():
        result = trainer.validation_step(one_scale(trainer, dim))
    assert np.isfinite(result["loss"])
    assert len(result["tp_hard"]) == 2


@pytest.mark.parametrize("trainer_class", TRAINERS)
def test_voxels_of_an_absent_modality_change_no_gradient(make_trainer, trainer_class):
    gradients = []
    for value in (7.0, torch.nan):
        trainer = make_trainer(trainer_class)
        trainer._available = AvailableModalities(3, {"gap": (True, False, True)})
        given = {**one_scale(trainer), "keys": ["whole", "gap"]}
        given["data"][1, 1] = value
        trainer.network.train()
        trainer.train_step(given)
        gradients.append([p.grad for p in trainer.network.parameters()])
    assert all(torch.equal(noise, nan) for noise, nan in zip(*gradients, strict=True))


@pytest.mark.parametrize("trainer_class", TRAINERS)
def test_adamw_follows_nnunets_schedule(make_trainer, trainer_class):
    trainer = make_trainer(trainer_class)
    (group,) = trainer.optimizer.param_groups
    assert isinstance(trainer.optimizer, torch.optim.AdamW)
    assert (group["lr"], group["weight_decay"]) == (1e-4, 1e-5)
    assert len(group["params"]) == len(list(trainer.network.parameters()))
    trainer.lr_scheduler.step(500)
    assert group["lr"] == pytest.approx(1e-4 * 0.5**0.9)  # half of 1000 epochs


@pytest.mark.parametrize(("trainer_class", "distils"), [(MAGUNETRTrainer, False), (MAGMSUNETRTrainer, True)])
def test_only_magms_distils(make_trainer, trainer_class, distils):
    trainer = make_trainer(trainer_class)
    trainer.network.train()
    terms = trainer.train_step(one_scale(trainer))["terms"]
    assert terms.shape == (1, 4, 3)
    assert ((terms[0, 1:, 1:] > 0) == distils).all()


@pytest.mark.parametrize("trainer_class", TRAINERS)
def test_deep_supervision_can_be_switched_and_changes_nothing(make_trainer, trainer_class):
    """nnU-Net's validation at the end of a training switches it off and on."""
    trainer = make_trainer(trainer_class)
    assert trainer._get_deep_supervision_scales() is None
    trainer.network.eval()
    x = one_scale(trainer)["data"]
    before = trainer.network(x)
    trainer.set_deep_supervision_enabled(True)
    assert torch.equal(trainer.network(x), before)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """Plans for patches that are not made of whole tokens."""
    workspace = Workspace(tmp_path_factory.mktemp("unetr"), Dataset(modalities=("FLAIR", "T1c"), shape=(24, 40, 24)))
    workspace.plan("3d_fullres")
    return workspace


def test_any_subset_from_raw_images_to_a_segmentation(workspace, tmp_path):
    workspace.train(trainer="MAGMSUNETRTrainer")
    model = workspace.model(trainer="MAGMSUNETRTrainer")
    patch_size = json.loads((model / "plans.json").read_text())["configurations"]["3d_fullres"]["patch_size"]
    assert any(size % 16 for size in patch_size)
    assert (
        workspace.magms_predict("-i", workspace.test, "-o", tmp_path, "-m", model, "-f", 0, "--modalities", "T1c") == 0
    )
    assert read_voxels(tmp_path / f"case3{ENDING}").shape == (24, 40, 24)
    assert json.loads((tmp_path / "case3.json").read_text())["modalities_used"] == ["T1c"]


def test_the_plain_unetr_is_a_model_of_nnunet(workspace, tmp_path):
    workspace.train(trainer="UNETRTrainer")
    model = ("-d", workspace.id, "-c", "3d_fullres", "-f", 0, "-tr", "UNETRTrainer", "-p", "MAGMSPlans")
    workspace.nnunet_predict("-i", workspace.test, "-o", tmp_path, *model)
    assert read_voxels(tmp_path / f"case3{ENDING}").shape == (24, 40, 24)


@pytest.mark.parametrize(
    ("trainer", "flags"), [("UNETRTrainer", ("--fill", "mean")), ("MAGUNETRTrainer", ()), ("MAGMSUNETRTrainer", ())]
)
def test_all_subsets_are_evaluated(workspace, tmp_path, trainer, flags):
    if not (workspace.model(trainer=trainer) / "fold_0/checkpoint_final.pth").is_file():
        workspace.train(trainer=trainer)
    model = ("-d", workspace.id, "-c", "3d_fullres", "-tr", trainer, "--disable_tta", *flags)
    assert workspace.magms_evaluate("-o", tmp_path, *model) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert list(summary["subsets"]) == ["FLAIR", "T1c", "FLAIR+T1c"]
