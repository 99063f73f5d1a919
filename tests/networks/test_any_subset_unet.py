from itertools import combinations

import pytest
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch import nn

from magms_nnunet.networks.any_subset_unet import AnySubsetUNet, SubsetLogits
from magms_nnunet.networks.availability import mark_absent
from magms_nnunet.networks.from_plans import build_any_subset_unet
from magms_nnunet.networks.subset_network import SubsetNetwork
from magms_nnunet.networks.sweep_network import SweepNetwork
from tests.networks.conftest import configuration

SUBSETS = [subset for size in range(1, 4) for subset in combinations(range(3), size)]


def any_subset(M=3, extra=0, dim=3, unet="PlainConvUNet", deep_supervision=False) -> AnySubsetUNet:
    """With estimates, normalisations and offsets that tell all subsets apart."""
    torch.manual_seed(0)
    plans = configuration(M, dim, unet)
    if extra:
        plans.configuration["previous_stage"] = "3d_lowres"
    network = build_any_subset_unet(plans, M + extra, 3, deep_supervision)
    nn.init.normal_(network.decision_offset.output.weight)
    for weight in modulations(network):
        nn.init.normal_(weight, std=0.1)
    images = torch.randn(M, 100)
    network.estimate.moments.copy_((images + images[:1]) @ (images + images[:1]).T / 100)
    return network.eval()


def modulations(network: nn.Module) -> list[torch.Tensor]:
    return [p for name, p in network.named_parameters() if name.endswith(".modulation.weight")]


def available(*rows) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.bool)


@pytest.mark.parametrize(("dim", "unet"), [(3, "PlainConvUNet"), (2, "PlainConvUNet"), (3, "ResidualEncoderUNet")])
def test_it_is_the_unet_of_the_plans_with_estimates_for_the_absent_and_an_offset(dim, unet):
    network, plans = any_subset(dim=dim, unet=unet), configuration(3, dim, unet)
    for weight in modulations(network):
        nn.init.zeros_(weight)
    stock = get_network_from_plans(
        plans.network_arch_class_name,
        plans.network_arch_init_kwargs,
        plans.network_arch_init_kwargs_req_import,
        3,
        3,
        deep_supervision=False,
    ).eval()
    missing, _ = stock.encoder.load_state_dict(network.encoder.state_dict(), strict=False)
    assert not missing
    stock.decoder.load_state_dict(network.decoder.state_dict(), strict=False)  # it registers its encoder as well
    x, mask = torch.randn(2, 3, *[16] * dim), available([1, 0, 1], [0, 1, 0])
    zeros = x.clone()
    zeros[0, 1] = zeros[1, [0, 2]] = 0
    expected = network.decision_offset(stock(network.estimate(zeros, mask)), mask)
    torch.testing.assert_close(network(x, mask), expected, rtol=0, atol=4e-5)
    complete = network.decision_offset(stock(x), available([1, 1, 1], [1, 1, 1]))
    torch.testing.assert_close(network(x), complete, rtol=0, atol=4e-5)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e6])
@pytest.mark.parametrize("training", [True, False])
def test_absent_voxels_reach_neither_logits_nor_gradients(training, poison):
    network, x, mask = (
        any_subset(extra=1).train(training),
        torch.randn(2, 4, 16, 16, 16),
        available([1, 0, 1], [0, 1, 0]),
    )

    def run() -> tuple[torch.Tensor, list[torch.Tensor]]:
        network.zero_grad()
        logits = network(x, mask)
        logits = logits.logits if training else logits
        logits.square().sum().backward()
        return logits, [p.grad.clone() for p in network.parameters() if p.grad is not None]

    logits, gradients = run()
    x[0, 1] = x[1, 0] = x[1, 2] = poison
    again, gradients_again = run()
    assert torch.equal(logits, again)
    assert all(torch.equal(a, b) for a, b in zip(gradients, gradients_again, strict=True))


def test_training_reads_the_marks_and_leaves_the_offset_to_the_loss():
    network, x, mask = (
        any_subset(deep_supervision=True).train(),
        torch.randn(2, 3, 16, 16, 16),
        available([1, 0, 1], [0, 1, 0]),
    )
    output = network(mark_absent(x, mask))
    assert isinstance(output, SubsetLogits)
    assert torch.equal(output.available, mask)
    with_offset = network.eval()(x, mask)
    assert torch.equal(with_offset[0], network.decision_offset(output.logits[0], mask))
    assert torch.equal(with_offset[1], output.logits[1])  # lower resolutions serve training only
    assert torch.equal(network.train()(x).available, available([1, 1, 1], [1, 1, 1]))


@pytest.mark.parametrize(("extra", "dim"), [(0, 3), (2, 3), (0, 2)])
def test_a_sweep_gives_what_each_subset_alone_gives(extra, dim):
    network, x = any_subset(extra=extra, dim=dim), torch.randn(2, 3 + extra, *[16] * dim)
    logits = SweepNetwork(network, SUBSETS)(x)
    assert logits.shape == (2, 7 * 3, *[16] * dim)
    for subset, of_subset in zip(SUBSETS, logits.split(3, 1), strict=True):
        alone = SubsetNetwork(network, subset)(torch.cat((x[:, list(subset)], x[:, 3:]), 1))
        assert torch.equal(of_subset, alone), subset


@pytest.mark.parametrize("unet", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_each_normalisation_is_told_which_modalities_there_are(unet):
    network, x = any_subset(unet=unet), torch.randn(1, 3, 16, 16, 16)
    norms = [module for module in network.modules() if isinstance(module, nn.InstanceNorm3d)]
    assert len(norms) == len(modulations(network)) > 5
    before = network(x)
    for norm in norms:
        norm.modulation.weight.data[:, :3] += 1  # nothing is absent
    assert torch.equal(network(x), before)
    assert not torch.equal(network(x, available([1, 1, 0])), any_subset(unet=unet)(x, available([1, 1, 0])))


def test_the_previous_stage_of_a_cascade_reaches_the_logits():
    network, x, mask = any_subset(extra=1), torch.randn(1, 4, 16, 16, 16), available([0, 1, 0])
    before = network(x, mask)
    x[:, 3] += 1
    assert not torch.equal(network(x, mask), before)


@pytest.mark.parametrize(
    ("mask", "message"),
    [(available([1, 1]), r"must be \(B, M\) = \(1, 3\), got \(1, 2\)"), (available([0, 0, 0]), "without any modality")],
)
def test_impossible_subsets_are_errors(mask, message):
    with pytest.raises(ValueError, match=message):
        any_subset()(torch.randn(1, 3, 16, 16, 16), mask)


def test_torch_compile_captures_the_whole_pass(monkeypatch):
    """As nnU-Net compiles it for a GPU; the back end makes no difference to what is captured."""
    monkeypatch.setattr("magms_nnunet.cpu.decoder.on_plain_cpu", lambda x: False)  # compiled it is not, either
    network, mask = any_subset(deep_supervision=True).train(), available([1, 0, 1], [1, 1, 1])
    x = mark_absent(torch.randn(2, 3, 16, 16, 16), mask)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    output, expected = compiled(x), network(x)
    assert torch.equal(output.available, mask)
    assert all(torch.equal(a, b) for a, b in zip(output.logits, expected.logits, strict=True))
    network.eval()
    network.decoder.deep_supervision = False
    complete = torch.randn(1, 3, 16, 16, 16)
    assert torch.equal(compiled(complete), network(complete))


def test_no_weight_is_stored_twice():
    assert not any(name.startswith("decoder.encoder") for name in any_subset().state_dict())


def test_memory_is_estimated_as_nnunet_does():
    network = any_subset()
    size = network.compute_conv_feature_map_size((16, 16, 16))
    assert size == network.encoder.compute_conv_feature_map_size((16, 16, 16)) + (
        network.decoder.compute_conv_feature_map_size((16, 16, 16))
    )
