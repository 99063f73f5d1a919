import torch

from magms_nnunet.networks.fusion import mean_fusion


def constant(value, batch=2):
    return torch.full((batch, 1, 2, 2), float(value))


def test_mean_of_all():
    assert torch.equal(mean_fusion({0: constant(1), 1: constant(2), 2: constant(6)}), constant(3))


def test_one_modality_is_left_as_it_is():
    feature = torch.randn(2, 3, 4, 4)
    assert torch.equal(mean_fusion({2: feature}), feature)


def test_mean_is_taken_over_what_each_sample_has():
    available = torch.tensor([[True, False, True], [False, False, True]])
    fused = mean_fusion({0: constant(1), 2: constant(5)}, available)
    assert torch.equal(fused[0], constant(3, 1)[0])
    assert torch.equal(fused[1], constant(5, 1)[0])


def test_order_of_modalities_does_not_matter():
    features = {m: torch.randn(2, 3, 4, 4) for m in range(3)}
    torch.testing.assert_close(mean_fusion(features), mean_fusion(dict(reversed(features.items()))))
