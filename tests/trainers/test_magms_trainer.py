import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from magms_nnunet.trainers import MAGMSTrainer, MAGTrainer
from magms_nnunet.training.settings import Settings
from tests.trainers.conftest import LABELS, REGIONS, batch


class WithoutDistillation(MAGMSTrainer):
    settings = Settings(kl_weight=0, feature_weight=0)


def gradients(trainer):
    trainer.network.train()
    trainer.train_step(batch(trainer))
    return {name: p.grad.clone() for name, p in trainer.network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("trainer_class", [MAGMSTrainer, MAGTrainer])
def test_the_constructor_is_nnunets(trainer_class):
    assert inspect.signature(trainer_class.__init__).parameters.keys() == (
        inspect.signature(nnUNetTrainer.__init__).parameters.keys()
    )


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(
    "dataset_json",
    [{}, {"labels": {**LABELS, "ignore": 3}}, REGIONS, {**REGIONS, "labels": {**REGIONS["labels"], "ignore": 3}}],
)
def test_a_step_learns_from_all_terms(make_trainer, dim, dataset_json):
    trainer = make_trainer(dim=dim, **dataset_json)
    trainer.network.train()
    results = [trainer.train_step(batch(trainer, dim)) for _ in range(8)]
    assert results[-1]["loss"] < results[0]["loss"]
    terms = results[0]["terms"]
    assert terms.shape == (1, 4, 3)
    assert terms.sum() == pytest.approx(float(results[0]["loss"]), rel=1e-5)
    assert (terms[0, 1:, 1:] > 0).all()  # KL and feature distance of every modality
    assert (terms[0, 0, 1:] == 0).all()  # the teacher has none


def test_validation_sees_the_fused_logits_and_nnunets_loss(make_trainer):
    trainer = make_trainer()
    trainer.network.eval()
    with torch.no_grad():
        result = trainer.validation_step(batch(trainer))
    assert np.isfinite(result["loss"])
    assert len(result["tp_hard"]) == 2


def test_gradients_of_mag_are_those_of_mag_ms_without_distillation(make_trainer):
    mag, without = gradients(make_trainer(MAGTrainer)), gradients(make_trainer(WithoutDistillation))
    distilled = gradients(make_trainer(MAGMSTrainer))
    assert mag.keys() == without.keys()
    for name in mag:
        torch.testing.assert_close(mag[name], without[name])
    assert any(not torch.allclose(mag[name], distilled[name]) for name in mag)


def test_each_term_of_each_modality_is_logged(make_trainer):
    trainer = make_trainer()
    trainer.network.train()
    trainer.on_train_epoch_end([trainer.train_step(batch(trainer)) for _ in range(2)])
    log = Path(trainer.log_file).read_text()
    for name in ("all", "FLAIR", "T1", "T1c"):
        assert re.search(rf"train_loss {name}: DC -?\d\.\d+, KL \d\.\d+, features \d\.\d+", log)


def test_deep_supervision_is_switched_where_nnunet_looks(make_trainer):
    trainer = make_trainer()
    trainer.set_deep_supervision_enabled(False)
    assert trainer.network.decoder.deep_supervision is False


def test_checkpoint_restores_weights_epoch_and_run_length(make_trainer, tmp_path, monkeypatch):
    monkeypatch.setenv("MAGMS_NUM_EPOCHS", "40")
    trainer = make_trainer()
    gradients(trainer)
    trainer.current_epoch = 6
    path = tmp_path / "checkpoint_latest.pth"
    trainer.inference_allowed_mirroring_axes = (0, 1, 2)
    trainer.save_checkpoint(str(path))
    assert [p.name for p in tmp_path.glob("checkpoint*")] == [path.name]
    monkeypatch.delenv("MAGMS_NUM_EPOCHS")
    fresh = make_trainer()
    assert fresh.num_epochs == 1000
    fresh.load_checkpoint(str(path))
    assert (fresh.current_epoch, fresh.num_epochs, fresh.save_every) == (7, 40, 2)
    assert fresh.lr_scheduler.max_steps == 40
    for a, b in zip(trainer.network.parameters(), fresh.network.parameters(), strict=True):
        assert torch.equal(a, b)
    monkeypatch.setenv("MAGMS_NUM_EPOCHS", "60")
    longer = make_trainer()
    longer.load_checkpoint(str(path))
    assert (longer.num_epochs, longer.lr_scheduler.max_steps) == (60, 60)


@pytest.mark.parametrize("given", ["content", "path"])
def test_a_checkpoint_may_be_given_as_its_content_or_a_path(given, make_trainer, tmp_path):
    trainer, path = make_trainer(), tmp_path / "checkpoint_latest.pth"
    gradients(trainer)
    trainer.current_epoch = 6
    trainer.inference_allowed_mirroring_axes = (0, 1, 2)
    trainer.save_checkpoint(str(path))
    fresh = make_trainer()
    fresh.load_checkpoint(torch.load(path, weights_only=False) if given == "content" else path)
    assert fresh.current_epoch == 7
    for a, b in zip(trainer.network.parameters(), fresh.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_no_checkpoint_where_checkpointing_is_disabled(make_trainer, tmp_path):
    trainer = make_trainer()
    trainer.disable_checkpointing = True
    trainer.save_checkpoint(str(tmp_path / "checkpoint_latest.pth"))
    assert not list(tmp_path.glob("checkpoint*"))


def test_untested_nnunet_is_a_line_of_the_log(make_trainer, monkeypatch):
    monkeypatch.setattr("magms_nnunet.nnunet.version.version", {"nnunetv2": "2.9.0"}.get)
    log = Path(make_trainer().log_file).read_text()
    assert "magms_nnunet: warning: nnunetv2 2.9.0 is untested, 2.8.1 is tested: " in log
