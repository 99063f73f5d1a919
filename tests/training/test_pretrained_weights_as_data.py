"""Fine-tuning reads weights as data, and the log says which."""

from pathlib import Path

import pytest
import torch
from nnunetv2.run import run_training
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from magms_nnunet.errors import InputError
from magms_nnunet.trainers import AnySubsetTrainer
from magms_nnunet.training.pretrained_weights import load_data
from tests.trainers.conftest import make_trainer  # noqa: F401 (a fixture)
from tests.training.test_pretrained_weights import (
    BOTH_NETWORKS,
    _as_nnunet_has_it,  # noqa: F401 (a fixture)
    ours,
    stock,
)


class Touch:
    """Pickled, it creates a file where it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@BOTH_NETWORKS
@pytest.mark.parametrize("place", ["nnssl_adaptation_plan", "init_args"])
def test_code_in_a_unets_checkpoint_does_not_run(build, place, tmp_path, monkeypatch):
    monkeypatch.delenv("MAGMS_TRUST_CHECKPOINT", raising=False)
    canary = tmp_path / "canary"
    content = {"network_weights": stock(1).state_dict(), place: {"key_to_encoder": Touch(canary)}}
    torch.save(content, tmp_path / "evil.pth")
    with pytest.raises(
        InputError, match=r"only data is loaded from checkpoints .MAGMS_TRUST_CHECKPOINT=1 if you trust"
    ):
        load_data(ours(build), str(tmp_path / "evil.pth"))
    assert not canary.exists()


def test_log_of_the_training_says_what_was_loaded(make_trainer, tmp_path, monkeypatch):  # noqa: F811
    trainer = make_trainer(AnySubsetTrainer)
    torch.save({"network_weights": stock(1).state_dict()}, tmp_path / "one.pth")
    run_training.maybe_load_checkpoint(trainer, False, False, str(tmp_path / "one.pth"))
    monkeypatch.setattr(nnUNetTrainer, "on_train_start", lambda self: None)
    trainer.on_train_start()
    log = Path(trainer.log_file).read_text(encoding="utf-8")
    network = trainer.network
    tensors = len(list(network.parameters())) + len(list(network.buffers()))
    of_the_dataset = len(network.decision_offset.state_dict()) + len(network.estimate.state_dict())
    modulations = sum("modulation" in name for name, _ in network.named_parameters())
    kept = of_the_dataset + 2 * len(network.decoder.seg_layers) + modulations
    assert f"single-channel model, its stem repeated, {tensors - kept} of {tensors} tensors loaded" in log
