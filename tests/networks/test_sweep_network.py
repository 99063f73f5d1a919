from itertools import combinations

import pytest
import torch

from magms_nnunet.networks.subset_network import SubsetNetwork
from magms_nnunet.networks.sweep_network import SweepNetwork
from tests.networks.test_hemis_unet import hemis

SUBSETS = [subset for size in range(1, 5) for subset in combinations(range(4), size)]


@pytest.fixture(params=["MAG-MS", "HeMIS"])
def four(request, build):
    """four(extra, dim) -> a network of four modalities."""
    builder = build if request.param == "MAG-MS" else hemis
    return lambda extra=0, dim=3: builder(4, extra, dim).eval()


@pytest.mark.parametrize(("extra", "dim"), [(0, 3), (2, 3), (0, 2)])
def test_the_logits_of_each_subset_are_those_of_that_subset_alone(four, extra, dim):
    network, x = four(extra, dim), torch.randn(2, 4 + extra, *[16] * dim)
    logits = SweepNetwork(network, SUBSETS)(x)
    assert logits.shape == (2, 15 * 3, *[16] * dim)
    for subset, of_subset in zip(SUBSETS, logits.split(3, 1), strict=True):
        alone = SubsetNetwork(network, subset)(torch.cat((x[:, list(subset)], x[:, 4:]), 1))
        assert torch.equal(of_subset, alone), subset


@pytest.mark.parametrize(("size", "dim"), [(32, 3), (128, 2)])
def test_a_tile_large_enough_for_merged_convolutions_is_no_exception(four, size, dim):
    network, x = four(dim=dim), torch.randn(2, 4, *[size] * dim)
    with torch.inference_mode():
        logits, fast = (SweepNetwork(network, SUBSETS, fast=fast)(x).split(3, 1) for fast in (False, True))
        for subset, of_subset, of_fast in zip(SUBSETS, logits, fast, strict=True):
            alone = SubsetNetwork(network, subset)(x[:, list(subset)])
            assert torch.equal(of_subset, alone), subset
            torch.testing.assert_close(of_fast, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("subsets", "calls"), [(SUBSETS, [1, 1, 1, 1]), ([(1, 3), (3,)], [0, 1, 0, 1]), ([(0,), (0,)], [1, 0, 0, 0])]
)
def test_each_modality_is_encoded_once_and_others_not_at_all(four, subsets, calls):
    network, count = four(), [0] * 4
    for m, encoder in enumerate(network.encoders):
        encoder.register_forward_hook(lambda *_, m=m: count.__setitem__(m, count[m] + 1))
    SweepNetwork(network, subsets)(torch.randn(1, 4, 16, 16, 16))
    assert count == calls


def test_a_poisoned_modality_reaches_those_subsets_only_that_have_it(four):
    network, x = four(), torch.randn(1, 4, 16, 16, 16)
    expected = SweepNetwork(network, SUBSETS)(x).split(3, 1)
    x[:, 2] = float("nan")
    for subset, before, after in zip(SUBSETS, expected, SweepNetwork(network, SUBSETS)(x).split(3, 1), strict=True):
        if 2 in subset:
            assert torch.isnan(after).any()
        else:
            assert torch.equal(after, before)


def test_output_may_be_written_to(four):
    """nnU-Net adds the mirrored passes into it."""
    network, x = four(), torch.randn(1, 4, 16, 16, 16)
    sweep = SweepNetwork(network, [(0, 1)])
    first = sweep(x)
    kept = first.clone()
    first += 1
    assert torch.equal(sweep(x), kept)


def test_checkpoints_are_loaded_into_the_network_itself(four):
    network, other, x = four(), four(), torch.randn(1, 4, 16, 16, 16)
    sweep = SweepNetwork(network, [(0, 1)])
    assert not torch.equal(sweep(x), SweepNetwork(other, [(0, 1)])(x))
    sweep.load_state_dict(other.state_dict())
    assert torch.equal(sweep(x), SweepNetwork(other, [(0, 1)])(x))


def test_a_fast_sweep_leaves_mixed_precision_to_nnunet(build):
    network, x = build(4).eval(), torch.randn(2, 4, 32, 32, 32)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(SweepNetwork(network, SUBSETS, fast=True)(x), SweepNetwork(network, SUBSETS)(x))
