import copy

import pytest
import torch
from torch.nn.functional import conv3d

from magms_nnunet.networks.availability import mark_absent
from magms_nnunet.networks.from_plans import build_multi_encoder_unet
from magms_nnunet.networks.hemis_unet import HeMISUNet, mean_and_variance
from tests.networks.conftest import configuration


def hemis(num_modalities, extra=0, dim=3, unet="PlainConvUNet", deep_supervision=False):
    plans = configuration(num_modalities, dim, unet)
    if extra:
        plans.configuration["previous_stage"] = "3d_lowres"
    return build_multi_encoder_unet(plans, num_modalities + extra, 3, deep_supervision, HeMISUNet)


def image(num_channels, dim=3, batch=2):
    return torch.randn(batch, num_channels, *[16] * dim)


def available(*rows):
    return torch.tensor(rows, dtype=torch.bool)


def features(*values, batch=1):
    """One voxel with one channel per modality."""
    return {m: torch.full((batch, 1, 1, 1), float(value)) for m, value in enumerate(values)}


@pytest.mark.parametrize(
    ("values", "mean", "variance"),
    [
        ((5,), 5, 0),
        ((1, 3), 2, 2),  # ((1 - 2)^2 + (3 - 2)^2) / 1
        ((1, 3, 8), 4, 13),  # (3^2 + 1^2 + 4^2) / 2
        ((2, 2, 2, 2), 2, 0),
    ],
)
def test_moments_by_hand(values, mean, variance):
    assert mean_and_variance(features(*values)).flatten().tolist() == [mean, variance]
    everything = torch.ones(1, len(values), dtype=torch.bool)
    assert mean_and_variance(features(*values), everything).flatten() == pytest.approx([mean, variance], abs=1e-6)


def test_the_means_of_all_channels_come_first():
    both = {0: torch.tensor([1.0, 10.0]).view(1, 2, 1, 1), 1: torch.tensor([3.0, 30.0]).view(1, 2, 1, 1)}
    assert mean_and_variance(both).flatten().tolist() == [2, 20, 2, 200]


def test_each_sample_has_moments_of_its_own_modalities():
    mask = available([1, 1, 0], [0, 1, 1], [0, 0, 1], [1, 1, 1])
    moments = mean_and_variance(features(1, 3, 8, batch=4), mask)[:, :, 0, 0]
    # 1 3 | 3 8: ((3 - 5.5)^2 + (8 - 5.5)^2) / 1 | 8 | 1 3 8
    torch.testing.assert_close(moments, torch.tensor([[2, 2], [5.5, 12.5], [8, 0], [4, 13]]))


def test_channels_that_nobody_encoded_may_be_left_out():
    some = {m: f for m, f in features(1, 3, 8).items() if m != 1}
    assert mean_and_variance(some).flatten().tolist() == [4.5, 24.5]
    assert mean_and_variance(some, available([1, 0, 1])).flatten().tolist() == [4.5, 24.5]


@pytest.mark.parametrize("mask", [None, available([0, 1])])
def test_a_modality_alone_has_variance_0_and_a_gradient(mask):
    x = torch.randn(1, 4, 3, 3, requires_grad=True)
    given = {1: x} if mask is None else {0: torch.zeros(1, 4, 3, 3), 1: x}
    moments = mean_and_variance(given, mask)
    assert torch.equal(moments[:, :4], x)
    assert (moments[:, 4:] == 0).all()
    moments.sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))  # of the mean; the variance is at its minimum


@pytest.mark.parametrize("unet", ["PlainConvUNet", "ResidualEncoderUNet"])
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("num_modalities", [1, 4])
@pytest.mark.parametrize("extra", [0, 2])
def test_output_has_one_logit_map_per_class(unet, dim, num_modalities, extra):
    network, x = hemis(num_modalities, extra, dim, unet, deep_supervision=True), image(num_modalities + extra, dim)
    assert [tuple(scale.shape) for scale in network(x)] == [(2, 3, *[16] * dim), (2, 3, *[8] * dim)]
    network.decoder.deep_supervision = False
    assert network.eval()(x).shape == (2, 3, *[16] * dim)


def test_the_decoder_sees_a_convolution_of_both_moments_at_every_level():
    network, x = hemis(2).eval(), image(2)
    raw = [network.encoders[m](x[:, m : m + 1]) for m in range(2)]
    levels = []
    for first, second, abstraction in zip(*raw, network.abstraction, strict=True):
        mean, variance = (first + second) / 2, (first - second).square() / 2
        levels.append(conv3d(torch.cat((mean, variance), 1), abstraction.weight, abstraction.bias))
    torch.testing.assert_close(network(x), network.decoder(levels), rtol=0, atol=1e-5)


def test_permuting_modalities_with_their_encoders_changes_nothing():
    network, order = hemis(3).eval(), [2, 0, 1]
    permuted = copy.deepcopy(network)
    for position, m in enumerate(order):
        permuted.encoders[position].load_state_dict(network.encoders[m].state_dict())
    x, mask = image(3), available([1, 1, 0], [0, 1, 1])
    torch.testing.assert_close(permuted(x[:, order]), network(x), rtol=0, atol=1e-5)
    torch.testing.assert_close(permuted(x[:, order], mask[:, order]), network(x, mask), rtol=0, atol=1e-5)


def test_each_sample_of_a_batch_is_fused_from_its_own_modalities():
    network, x = hemis(3).eval(), image(3)
    mixed = network(x, available([1, 0, 0], [0, 1, 1]))
    torch.testing.assert_close(mixed[:1], network(x[:1], available([1, 0, 0])), rtol=0, atol=1e-5)
    torch.testing.assert_close(mixed[1:], network(x[1:], available([0, 1, 1])), rtol=0, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e6])
def test_absent_voxels_never_reach_the_logits(training, poison):
    network, x, mask = hemis(4, extra=1).train(training), image(5), available([1, 0, 1, 0], [0, 1, 0, 0])
    expected = network(x, mask)
    x[0, [1, 3]] = poison
    x[1, [0, 2, 3]] = poison
    logits = network(x, mask)
    assert torch.equal(logits, expected)
    logits.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_the_previous_stage_of_a_cascade_reaches_the_logits():
    network, x = hemis(2, extra=1).eval(), image(3)
    before = network(x, available([1, 0], [1, 0]))
    x[:, 2] += 1
    assert not torch.equal(network(x, available([1, 0], [1, 0])), before)


def test_training_reads_the_marks_of_the_batch_and_prediction_is_of_all():
    network, x = hemis(3), image(3)
    mask = available([0, 1, 0], [1, 0, 1])
    of_marks = network(mark_absent(x, mask))
    assert torch.equal(of_marks, network(x, mask))
    assert torch.equal(network(x), network(x, available([1, 1, 1], [1, 1, 1])))
    assert torch.equal(of_marks, network.eval()(x, mask))
    assert torch.equal(network(x), network(x, available([1, 1, 1], [1, 1, 1])))


def test_all_encoders_take_part_in_training_whatever_is_available():
    """DistributedDataParallel waits for a gradient of every weight."""
    network = hemis(3)
    network(image(3), available([1, 0, 0], [1, 0, 0])).sum().backward()
    assert all(p.grad is not None for p in network.encoders.parameters())
    assert all(p.grad is not None for p in network.abstraction.parameters())
    assert not any(p.grad.any() for encoder in network.encoders[1:] for p in encoder.parameters())
    assert any(p.grad.any() for p in network.encoders[0].parameters())


@pytest.mark.parametrize("training", [False, True])
def test_a_sample_without_any_modality_is_an_error(training):
    with pytest.raises(ValueError, match="without any modality"):
        hemis(2).train(training)(image(2), available([1, 0], [0, 0]))


def test_no_weight_stands_twice_and_none_is_unused():
    network = hemis(2, unet="ResidualEncoderUNet")
    state = network.state_dict()
    assert {key.split(".")[0] for key in state} == {"encoders", "abstraction", "decoder"}
    assert not any(".encoder." in key for key in state)
    assert len({p.data_ptr() for p in network.parameters()}) == len(list(network.parameters()))


def test_torch_compile_captures_the_training_pass(monkeypatch):
    monkeypatch.setattr("magms_nnunet.cpu.decoder.on_plain_cpu", lambda x: False)  # compiled it is not, either
    network, x = hemis(3, deep_supervision=True), image(3)
    torch.manual_seed(1)
    expected = network(x)
    torch.manual_seed(1)
    compiled = torch.compile(network, backend="eager", fullgraph=True)(x)
    assert all(torch.equal(a, b) for a, b in zip(compiled, expected, strict=True))
