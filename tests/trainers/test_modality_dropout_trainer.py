import inspect
import json

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from magms_nnunet.model.model import load_model
from magms_nnunet.trainers import ModalityDropoutTrainer
from magms_nnunet.training.subset_law import SubsetLaw
from tests.trainers.conftest import LABELS, REGIONS, batch, plans


def test_the_constructor_is_nnunets():
    assert inspect.signature(ModalityDropoutTrainer.__init__).parameters.keys() == (
        inspect.signature(nnUNetTrainer.__init__).parameters.keys()
    )


def seen_by_the_network(trainer, step) -> list[torch.Tensor]:
    seen = []
    hook = trainer.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    step()
    hook.remove()
    return seen


def test_the_network_sees_zeros_and_the_callers_batch_stays(make_trainer, monkeypatch):
    trainer = make_trainer(ModalityDropoutTrainer)
    trainer.network.train()
    given = torch.tensor([[True, False, True], [False, True, False]])
    monkeypatch.setattr(SubsetLaw, "draw", lambda *_: given)
    whole = batch(trainer)
    whole["data"][1, 2, 1:] = float("nan")  # of an absent modality
    before = whole["data"].clone()
    (x,) = seen_by_the_network(trainer, lambda: trainer.train_step(whole))
    for sample, modality in np.ndindex(2, 3):
        expected = before[sample, modality] if given[sample, modality] else torch.zeros(16, 16, 16)
        assert torch.equal(x[sample, modality], expected)
    torch.testing.assert_close(whole["data"], before, rtol=0, atol=0, equal_nan=True)
    assert all(torch.isfinite(p).all() for p in trainer.network.parameters())


def test_steps_see_different_subsets_and_validation_all(make_trainer):
    trainer = make_trainer(ModalityDropoutTrainer)
    trainer.network.train()
    seen = seen_by_the_network(trainer, lambda: [trainer.train_step(batch(trainer)) for _ in range(12)])
    masks = [tuple(x.flatten(2).any(2).flatten().tolist()) for x in seen]
    assert len(set(masks)) > 6
    assert all(any(mask[:3]) and any(mask[3:]) for mask in masks)
    assert all(all(mask[:3]) or all(mask[3:]) for mask in masks)  # half of the samples are complete
    trainer.network.eval()
    with torch.no_grad():
        (x,) = seen_by_the_network(trainer, lambda: trainer.validation_step(batch(trainer)))
    assert torch.equal(x, batch(trainer)["data"])


def test_the_previous_stage_of_a_cascade_stays(make_trainer, monkeypatch):
    trainer = make_trainer(ModalityDropoutTrainer)
    steps = []
    monkeypatch.setattr(nnUNetTrainer, "train_step", lambda self, batch: steps.append(batch) or {"loss": np.float32(0)})
    whole = batch(trainer)
    one_hot = torch.randint(0, 2, (2, 2, 16, 16, 16)).float()
    trainer.train_step({**whole, "data": torch.cat((whole["data"], one_hot), 1)})
    assert torch.equal(steps[0]["data"][:, 3:], one_hot)
    assert steps[0]["target"] is whole["target"]


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(
    "dataset_json", [{}, {"labels": {**LABELS, "ignore": 3}}, REGIONS], ids=["", "ignore", "regions"]
)
def test_steps_learn(make_trainer, dim, dataset_json):
    trainer = make_trainer(ModalityDropoutTrainer, dim=dim, **dataset_json)
    trainer.network.train()
    losses = [float(trainer.train_step(batch(trainer, dim))["loss"]) for _ in range(24)]
    assert np.mean(losses[-6:]) < np.mean(losses[:6])


def test_its_checkpoint_is_a_model_with_a_stock_network(make_trainer, tmp_path):
    trainer, stock = make_trainer(ModalityDropoutTrainer), make_trainer(nnUNetTrainer)
    trainer.network.train()
    trainer.train_step(batch(trainer))
    trainer.inference_allowed_mirroring_axes = (0, 1, 2)
    folder = tmp_path / "ModalityDropoutTrainer__MAGMSPlans__tiny"
    (folder / "fold_0").mkdir(parents=True)
    trainer.save_checkpoint(str(folder / "fold_0/checkpoint_final.pth"))
    (folder / "plans.json").write_text(json.dumps(plans()))
    (folder / "dataset.json").write_text(json.dumps(trainer.dataset_json))

    model = load_model(folder, [0])
    assert model.trainer == "ModalityDropoutTrainer"
    assert type(model.network) is type(stock.network)
    assert not model.takes_subsets
    x = batch(trainer)["data"]
    assert torch.equal(model.network(x), trainer.network.eval()(x)[0])
    stock.network.load_state_dict(model.weights[0])
