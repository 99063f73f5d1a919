import pytest
import torch

from magms_nnunet.trust import soft_dice as module
from magms_nnunet.trust.soft_dice import soft_dice

REGIONS = {"whole": (1, 2), "core": (2,)}


def test_a_network_without_doubt_expects_1():
    labels = torch.tensor([[[0, 1, 2, 2]]])
    logits = 100 * torch.nn.functional.one_hot(labels, 3).movedim(-1, 0).float()
    assert soft_dice(logits, REGIONS, sigmoid=False) == pytest.approx({"whole": 1, "core": 1})


def test_by_hand():
    """Two voxels: probabilities 0.2, 0.8, 0 and 0.6, 0.4, 0; the first is predicted."""
    logits = torch.tensor([[0.2, 0.6], [0.8, 0.4], [1e-9, 1e-9]]).log().reshape(3, 1, 1, 2)
    found = soft_dice(logits, REGIONS, sigmoid=False)
    assert found["whole"] == pytest.approx((2 * 0.8 + 1) / (1.2 + 1 + 1))
    assert found["core"] == pytest.approx(1, abs=1e-6)


def test_regions_are_sigmoids_in_the_order_of_their_names():
    p = torch.tensor([[0.9, 0.3], [0.4, 0.2]])
    found = soft_dice(torch.logit(p).reshape(2, 1, 1, 2), REGIONS, sigmoid=True)
    assert found["whole"] == pytest.approx((2 * 0.9 + 1) / (1.2 + 1 + 1))
    assert found["core"] == pytest.approx(1 / (0.6 + 1))


def test_doubt_where_nothing_is_predicted_lowers_it():
    sure, doubting = torch.full((2, 1, 8, 8), -20.0), torch.full((2, 1, 8, 8), -0.1)
    assert soft_dice(sure, REGIONS, sigmoid=True)["core"] == pytest.approx(1, abs=1e-4)
    assert soft_dice(doubting, REGIONS, sigmoid=True)["core"] < 0.05


def test_slabs_change_nothing(monkeypatch):
    logits = torch.randn(3, 7, 5, 4).half()
    at_once = soft_dice(logits, REGIONS, sigmoid=False)
    monkeypatch.setattr(module, "_SLAB_VOXELS", 20)
    assert soft_dice(logits, REGIONS, sigmoid=False) == pytest.approx(at_once)
