import math

import pytest
import torch

from magms_nnunet.networks.decision_offset import DecisionOffset, volumes

ALL = torch.ones(1, 2, dtype=torch.bool)


def test_it_starts_at_zero():
    logits = torch.randn(2, 3, 4, 4)
    assert torch.equal(DecisionOffset(2, 3)(logits, ALL.expand(2, 2)), logits)


def test_it_depends_on_the_modalities_and_on_the_certainty_of_the_sample():
    torch.manual_seed(0)
    offset = DecisionOffset(2, 3)
    torch.nn.init.normal_(offset.output.weight)
    logits = torch.randn(3, 3, 4, 4)
    logits[2] = 5 * logits[0]
    logits[1] = logits[0]
    moved = offset(logits, torch.tensor([[True, True], [True, False], [True, True]])) - logits
    assert all(torch.allclose(a, a[..., :1, :1].expand_as(a), atol=1e-5) for a in moved)  # one number per class
    a, b, c = moved[:, :, 0, 0]
    assert not torch.allclose(a, b)
    assert not torch.allclose(a, c)


def test_the_offset_is_limited():
    offset = DecisionOffset(2, 3)
    offset.output.bias.data = torch.tensor([1000.0, -1000, 1])
    moved = offset(torch.zeros(1, 3, 4), ALL)[0, :, 0]
    assert moved.tolist() == pytest.approx([6, -6, 6 * math.tanh(1 / 6)])


def test_a_patient_unlike_those_in_training_is_taken_for_the_most_unlike_of_them():
    torch.manual_seed(0)
    offset = DecisionOffset(2, 1)
    torch.nn.init.normal_(offset.output.weight)
    offset.scale.fill_(0.1)
    far, farther = torch.full((1, 27), 10.0), torch.full((1, 27), 100.0)
    assert torch.equal(offset.offset(far), offset.offset(farther))
    assert not torch.equal(offset.offset(far), offset.offset(-far))


@pytest.mark.parametrize("regions", [True, False])
def test_a_margin_is_the_distance_to_the_decision(regions):
    offset = DecisionOffset(2, 3)
    offset.regions.fill_(regions)
    logits = torch.tensor([[[3.0, 1e4], [1.0, -1e4], [-2.0, 0.0]]])
    expected = logits if regions else torch.tensor([[[2.0, 1e4], [-2.0, -2e4], [-5.0, -1e4]]])
    assert torch.equal(offset.margins(logits), expected)


def test_volumes_are_the_voxels_above_each_threshold():
    torch.manual_seed(0)
    margins = 4 * torch.randn(2, 3, 5, 6)
    margins[0, 0, 0, :2] = torch.tensor([torch.inf, -torch.inf])
    mask = torch.rand(2, 1, 5, 6) > 0.5
    thresholds = torch.linspace(-6, 6, 25)
    for counted in (None, mask, mask.expand(2, 3, 5, 6)):
        above = margins[..., None] > thresholds
        expected = (above if counted is None else above & counted[..., None]).sum((2, 3)).float()
        assert torch.equal(volumes(margins, counted), expected)


def test_features_are_the_modalities_and_the_logarithms_of_volumes():
    given = torch.zeros(1, 1, 25)
    given[0, 0, :2] = torch.tensor([99.0, 9])
    features = DecisionOffset(2, 1).features(given, torch.tensor([[True, False]]), 99)
    assert features[0].tolist() == pytest.approx([1, 0, 2, 0] + [-2] * 23)


def test_mixed_precision_does_not_reach_the_offset():
    torch.manual_seed(0)
    offset, logits = DecisionOffset(2, 3), torch.randn(1, 3, 4, 4)
    torch.nn.init.normal_(offset.output.weight)
    expected = offset(logits, ALL)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(offset(logits, ALL), expected)
    assert offset(logits.half(), ALL).dtype == torch.half
