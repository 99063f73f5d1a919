import inspect

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from magms_nnunet.networks.hemis_unet import HeMISUNet
from magms_nnunet.trainers import HeMISTrainer
from tests.trainers.conftest import LABELS, REGIONS, batch


def test_the_constructor_is_nnunets():
    assert inspect.signature(HeMISTrainer.__init__).parameters.keys() == (
        inspect.signature(nnUNetTrainer.__init__).parameters.keys()
    )


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(
    "dataset_json", [{}, {"labels": {**LABELS, "ignore": 3}}, REGIONS], ids=["", "ignore", "regions"]
)
def test_steps_learn_with_nnunets_loss(make_trainer, dim, dataset_json):
    trainer = make_trainer(HeMISTrainer, dim=dim, **dataset_json)
    assert isinstance(trainer.network, HeMISUNet)
    assert type(trainer.loss) is type(nnUNetTrainer._build_loss(trainer))
    trainer.network.train()
    losses = [float(trainer.train_step(batch(trainer, dim))["loss"]) for _ in range(24)]
    assert np.mean(losses[-6:]) < np.mean(losses[:6])  # each step sees other subsets
    trainer.network.eval()
    with torch.no_grad():
        result = trainer.validation_step(batch(trainer, dim))
    assert np.isfinite(result["loss"])
    assert len(result["tp_hard"]) == 2


def test_a_step_gives_every_weight_a_gradient(make_trainer):
    trainer = make_trainer(HeMISTrainer)
    trainer.network.train()
    trainer.train_step(batch(trainer))
    lowest = "decoder.seg_layers.0."  # nnU-Net's weight of the lowest resolution is 0; in DDP it is not
    for name, p in trainer.network.named_parameters():
        assert name.startswith(lowest) if p.grad is None else torch.isfinite(p.grad).all(), name


def test_deep_supervision_is_switched_where_nnunet_looks(make_trainer):
    trainer = make_trainer(HeMISTrainer)
    trainer.network.eval()
    assert len(trainer.network(batch(trainer)["data"])) == 2
    trainer.set_deep_supervision_enabled(False)
    assert trainer.network(batch(trainer)["data"]).shape == (2, 3, 16, 16, 16)
