import copy
import inspect

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from magms_nnunet.errors import InputError
from magms_nnunet.networks.any_subset_unet import AnySubsetUNet
from magms_nnunet.networks.decision_offset import DecisionOffset
from magms_nnunet.trainers import AnySubsetTrainer, MAGMSTrainer
from magms_nnunet.training.cosine_schedule import CosineSchedule
from magms_nnunet.training.muon import Muon
from magms_nnunet.training.subset_law import SubsetLaw
from tests.trainers.conftest import LABELS, REGIONS, batch


class CompleteOnly(AnySubsetTrainer):
    law = SubsetLaw(full_probability=1.0)


def test_the_constructor_is_nnunets():
    assert inspect.signature(AnySubsetTrainer.__init__).parameters.keys() == (
        inspect.signature(nnUNetTrainer.__init__).parameters.keys()
    )


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(
    "dataset_json",
    [{}, {"labels": {**LABELS, "ignore": 3}}, REGIONS, {**REGIONS, "labels": {**REGIONS["labels"], "ignore": 3}}],
)
def test_steps_learn(make_trainer, dim, dataset_json):
    trainer = make_trainer(AnySubsetTrainer, dim=dim, **dataset_json)
    assert isinstance(trainer.network, AnySubsetUNet)
    assert isinstance(trainer.optimizer, Muon)
    trainer.network.train()
    losses = [float(trainer.train_step(batch(trainer, dim))["loss"]) for _ in range(48)]
    assert np.mean(losses[-12:]) < np.mean(losses[:12])  # each step sees other subsets
    assert len(trainer.loss.memory) == 48 * trainer.batch_size
    assert trainer.network.decision_offset.regions == trainer.label_manager.has_regions
    assert trainer.network.estimate.moments.any()
    trainer.network.eval()
    with torch.no_grad():
        result = trainer.validation_step(batch(trainer, dim))
    assert np.isfinite(result["loss"])
    assert len(result["tp_hard"]) == 2


def test_a_step_gives_every_weight_a_gradient(make_trainer):
    trainer = make_trainer(CompleteOnly)
    trainer.network.train()
    trainer.train_step(batch(trainer))
    lowest = "decoder.seg_layers.0."  # nnU-Net's weight of the lowest resolution is 0; in DDP it is not
    for name, p in trainer.network.named_parameters():
        assert name.startswith((lowest, "decision_offset.")) if p.grad is None else torch.isfinite(p.grad).all(), name


def test_an_epoch_ends_with_the_fit_of_the_decisions(make_trainer):
    trainer = make_trainer(AnySubsetTrainer)
    trainer.network.train()
    trainer.loss.memory.FEWEST = 2
    outputs = [trainer.train_step(batch(trainer)) for _ in range(2)]
    assert not trainer.network.decision_offset.output.weight.any()
    trainer.on_train_epoch_end(outputs)
    assert trainer.network.decision_offset.output.weight.any()
    assert not any(p.requires_grad or p.grad is not None for p in trainer.network.decision_offset.parameters())


def test_the_callers_batch_stays(make_trainer):
    trainer = make_trainer(AnySubsetTrainer)
    trainer.network.train()
    given = batch(trainer)
    before = copy.deepcopy(given)
    trainer.train_step(given)
    assert torch.equal(given["data"], before["data"])


def test_a_checkpoint_continues_with_the_optimizers_state(make_trainer, tmp_path):
    trainer = make_trainer(AnySubsetTrainer)
    trainer.network.train()
    trainer.train_step(batch(trainer))
    trainer.save_checkpoint(str(tmp_path / "checkpoint_latest.pth"))
    continued = make_trainer(AnySubsetTrainer)
    continued.load_checkpoint(str(tmp_path / "checkpoint_latest.pth"))
    continued.network.train()
    for one in (trainer, continued):
        torch.manual_seed(3)  # the subsets that are drawn
        one.train_step(batch(one))
    for a, b in zip(trainer.network.parameters(), continued.network.parameters(), strict=True):
        assert torch.equal(a, b)


class Plain(AnySubsetTrainer):
    """With nnU-Net's optimizer."""

    configure_optimizers = nnUNetTrainer.configure_optimizers


class Narrow(AnySubsetTrainer):
    """With a network that knows fewer modalities."""

    @staticmethod
    def build_network_architecture(plans_manager, *others):  # nnU-Net looks for the first name
        network = AnySubsetTrainer.build_network_architecture(plans_manager, *others)
        network.decision_offset = DecisionOffset(2, 3)
        return network


@pytest.mark.parametrize(
    ("began", "says"),
    [
        (MAGMSTrainer, "is of trainer 'MAGMSTrainer', not 'AnySubsetTrainer': move it away"),
        (Plain, "was trained with another optimizer than AnySubsetTrainer's Muon: move it away"),
        (Narrow, "holds other layers than AnySubsetTrainer builds: move it away"),
    ],
)
def test_a_checkpoint_of_another_composition_is_not_continued(began, says, make_trainer, tmp_path):
    name = "MAGMSTrainer" if began is MAGMSTrainer else "AnySubsetTrainer"
    path = tmp_path / "checkpoint_latest.pth"
    make_trainer(type(name, (began,), {})).save_checkpoint(str(path))
    trainer = make_trainer(AnySubsetTrainer)
    before = copy.deepcopy(trainer.network.state_dict())
    with pytest.raises(InputError, match=says) as caught:
        trainer.load_checkpoint(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(weight, before[name]) for name, weight in trainer.network.state_dict().items())


def test_the_learning_rate_rises_and_falls(make_trainer):
    trainer = make_trainer(AnySubsetTrainer)
    schedule = CosineSchedule(trainer.optimizer, 0.01, 40)
    rates = []
    for epoch in range(40):
        schedule.step(epoch)
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    # 5 % of 40 epochs: the middles of the first two lie at a quarter and three quarters of the rise
    assert rates[0] == pytest.approx(0.01 * 0.25, rel=1e-3)
    assert rates[1] == pytest.approx(0.01 * 0.75, rel=5e-3)
    assert max(rates) == rates[2]
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[20] == pytest.approx(0.01 * 0.48, rel=1e-2)
    assert 0 < rates[-1] < 1e-4
    assert all(group["lr"] == rates[-1] for group in trainer.optimizer.param_groups)
