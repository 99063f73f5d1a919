"""Fine-tuning with our trainers: good weights arrive as nnU-Net brings them, and only our process is changed."""

import sys

import pytest
import torch
from nnunetv2.run import run_training
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights

from magms_nnunet.errors import InputError, InputWarning
from magms_nnunet.training import pretrained_weights
from tests.trainers.conftest import make_trainer  # noqa: F401 (a fixture)


@pytest.fixture(autouse=True)
def _as_nnunet_has_it(monkeypatch):
    monkeypatch.setattr(run_training, "load_pretrained_weights", load_pretrained_weights)


def test_good_weights_arrive_all_but_the_segmentation_layers(make_trainer, tmp_path):  # noqa: F811
    trainer = make_trainer()
    weights = {name: torch.full_like(weight, 0.5) for name, weight in trainer.network.state_dict().items()}
    torch.save({"network_weights": weights}, tmp_path / "good.pth")
    run_training.maybe_load_checkpoint(trainer, False, False, str(tmp_path / "good.pth"))
    for name, weight in trainer.network.state_dict().items():
        assert bool((weight == 0.5).all()) != (".seg_layers." in name), name


def test_weights_of_another_width_are_refused_with_both_shapes(make_trainer, tmp_path):  # noqa: F811
    trainer = make_trainer()
    weights = trainer.network.state_dict()
    name = next(name for name, weight in weights.items() if weight.ndim == 5)
    torch.save({"network_weights": weights | {name: torch.zeros(7, 1, 3, 3, 3)}}, tmp_path / "wide.pth")
    with pytest.raises(InputError) as error:
        run_training.maybe_load_checkpoint(trainer, False, False, str(tmp_path / "wide.pth"))
    shape = "x".join(map(str, weights[name].shape))
    assert f"wide.pth: {name} is 7x1x3x3x3 there and {shape} here: plan this dataset with" in str(error.value)
    assert len(str(error.value)) < 400


def test_weights_of_fewer_modalities_are_refused_by_name(make_trainer, tmp_path):  # noqa: F811
    trainer = make_trainer()
    weights = {name: weight for name, weight in trainer.network.state_dict().items() if "encoders.2." not in name}
    torch.save({"network_weights": weights}, tmp_path / "two.pth")
    with pytest.raises(InputError, match=r"two\.pth: it has no encoders\.2\..*: take a model of this trainer"):
        run_training.maybe_load_checkpoint(trainer, False, False, str(tmp_path / "two.pth"))


def test_a_trainer_of_ours_steps_in_once(make_trainer):  # noqa: F811
    make_trainer()
    assert run_training.load_pretrained_weights is pretrained_weights.load_data
    make_trainer()
    assert run_training.load_pretrained_weights is pretrained_weights.load_data


def test_what_somebody_else_has_put_there_stays_and_is_warned_of(make_trainer, monkeypatch):  # noqa: F811
    monkeypatch.setattr(run_training, "load_pretrained_weights", print)
    with pytest.warns(InputWarning, match="use files only from those whom you trust"):
        make_trainer()
    assert run_training.load_pretrained_weights is print


def test_a_guard_that_finds_nothing_to_guard_says_so(monkeypatch):
    """As with an nnU-Net that has renamed the function."""
    monkeypatch.delattr(run_training, "load_pretrained_weights")
    with pytest.warns(InputWarning, match="-pretrained_weights"):
        pretrained_weights.guard_pretrained_weights()


def test_nnunets_module_that_is_not_imported_is_left_alone(monkeypatch):
    monkeypatch.delitem(sys.modules, "nnunetv2.run.run_training")
    pretrained_weights.guard_pretrained_weights()
    assert "nnunetv2.run.run_training" not in sys.modules
