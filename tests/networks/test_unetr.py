import copy
import sys
from functools import partial

import pytest
import torch

from magms_nnunet.errors import InputError
from magms_nnunet.networks.from_plans import build_multi_encoder_unetr, build_unetr
from magms_nnunet.networks.subset_network import SubsetNetwork
from tests.networks.conftest import configuration

TINY = {"feature_size": 2, "hidden_size": 12, "mlp_dim": 16, "num_heads": 2}
CLASSES = 3


@pytest.fixture
def tiny(monkeypatch):
    """UNETR is built with very few channels."""
    pytest.importorskip("monai", reason="the extra `unetr` is not installed")
    from magms_nnunet.networks import unetr

    monkeypatch.setattr(unetr, "UNETR", partial(unetr.UNETR, **TINY))


def plans(num_modalities, patch_size=(16, 16, 16), cascade=False):
    result = configuration(num_modalities, len(patch_size))
    result.configuration["patch_size"] = list(patch_size)
    if cascade:
        result.configuration["previous_stage"] = "3d_lowres"
    return result


@pytest.fixture
def build(tiny):
    """build(M, extra=0, patch_size=...) -> the multi-encoder UNETR."""

    def build(num_modalities, extra=0, patch_size=(16, 16, 16)):
        settings = plans(num_modalities, patch_size, cascade=bool(extra))
        return build_multi_encoder_unetr(settings, num_modalities + extra, CLASSES)

    return build


def available(*rows):
    return torch.tensor(rows, dtype=torch.bool)


@pytest.mark.parametrize("num_modalities", [1, 2, 4])
@pytest.mark.parametrize("extra", [0, 2])
@pytest.mark.parametrize("patch_size", [(16, 16, 32), (40, 24, 10), (32, 20)], ids=str)
def test_logits_have_the_size_of_the_patch(build, num_modalities, extra, patch_size):
    network, x = build(num_modalities, extra, patch_size), torch.randn(2, num_modalities + extra, *patch_size)
    assert network.eval()(x).shape == (2, CLASSES, *patch_size)
    output = network.train()(x)
    assert [network.decode(features).shape for features in (output.teacher, *output.students)] == (
        [(2, CLASSES, *patch_size)] * (1 + num_modalities)
    )


def test_skips_are_halved_from_the_patch_padded_to_whole_tokens(build):
    encoder = build(1, patch_size=(40, 48, 24)).encoders[0]
    skips = encoder(torch.randn(1, 1, 40, 48, 24))
    assert [tuple(skip.shape[1:]) for skip in skips] == [
        (2, 48, 48, 32),
        (4, 24, 24, 16),
        (8, 12, 12, 8),
        (16, 6, 6, 4),
        (12, 3, 3, 2),
    ]
    assert [skip.shape[1] for skip in skips] == encoder.output_channels


def test_the_patch_stands_in_the_middle_of_the_padding(tiny):
    """So a patch of 10 is what fills voxels 3 to 12 of a patch of 16."""
    small, large = build_unetr(plans(1, (10, 16)), 1, CLASSES), build_unetr(plans(1, (16, 16)), 1, CLASSES)
    small.load_state_dict(large.state_dict())
    x = torch.randn(1, 1, 10, 16)
    padded = torch.zeros(1, 1, 16, 16)
    padded[:, :, 3:13] = x
    torch.testing.assert_close(small(x), large(padded)[:, :, 3:13], rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(32, 16, 16), (16, 16)])
def test_a_patch_of_another_size_is_an_error(tiny, size):
    network = build_unetr(plans(2), 2, CLASSES)
    with pytest.raises(InputError, match=rf"takes patches of 16x16x16 voxels.*got {'x'.join(map(str, size))}: train"):
        network(torch.randn(1, 2, *size))


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e6])
def test_absent_voxels_never_reach_the_logits(build, poison):
    network, x = build(4, extra=1).eval(), torch.randn(2, 5, 16, 16, 16)
    given = available([1, 0, 1, 0], [0, 1, 1, 0])
    poisoned = x.clone()
    poisoned[0, [1, 3]] = poison
    poisoned[1, [0, 3]] = poison
    assert torch.equal(network(poisoned, given), network(x, given))


def test_permuting_modalities_with_their_encoders_changes_nothing(build):
    network, order = build(3).eval(), [2, 0, 1]
    permuted = copy.deepcopy(network)
    for position, m in enumerate(order):
        permuted.encoders[position].load_state_dict(network.encoders[m].state_dict())
        permuted.projections[position].load_state_dict(network.projections[m].state_dict())
    x, mask = torch.randn(2, 3, 16, 16, 16), available([1, 1, 0], [0, 1, 1])
    torch.testing.assert_close(permuted(x[:, order], mask[:, order]), network(x, mask), rtol=0, atol=1e-5)


def test_with_one_modality_it_is_the_plain_unetr(build):
    unetr, network = build_unetr(plans(1), 1, CLASSES).eval(), build(1).eval()
    network.encoders[0].load_state_dict(unetr.encoder.state_dict())
    network.decoder.load_state_dict(unetr.decoder.state_dict())
    x = torch.randn(2, 1, 16, 16, 16)
    torch.testing.assert_close(network(x), unetr(x), rtol=0, atol=1e-6)


def test_a_subset_is_predicted_from_its_channels_alone(build):
    network, x = build(4).eval(), torch.randn(1, 4, 16, 16, 16)
    expected = network(x, available([1, 0, 0, 1]))
    assert torch.equal(SubsetNetwork(network, (0, 3))(x[:, [0, 3]]), expected)


def test_no_weight_stands_twice_and_each_takes_part_in_training(build):
    """DDP refuses weights without gradient."""
    network = build(2)
    assert len({weight.data_ptr() for weight in network.state_dict().values()}) == len(network.state_dict())
    output = network(torch.randn(1, 2, 16, 16, 16), available([1, 0]))
    sum(network.decode(features).sum() for features in (output.teacher, *output.students)).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_torch_compile_captures_the_whole_pass(tiny):
    network, x = build_unetr(plans(1, (24, 16)), 1, CLASSES), torch.randn(1, 1, 24, 16)
    assert torch.equal(torch.compile(network, backend="eager", fullgraph=True)(x), network(x))


def weights_of_monai(theirs) -> dict[str, torch.Tensor]:
    """Under our names. MONAI has weights for cross-attention as well, and never uses them."""
    names = {
        "vit": "encoder.vit",
        "encoder1": "encoder.image_block",
        **{f"encoder{2 + i}": f"encoder.token_blocks.{i}" for i in range(3)},
        **{f"decoder{5 - i}": f"decoder.up_blocks.{i}" for i in range(4)},
        "out": "decoder.head",
    }
    weights = {}
    for key, weight in theirs.state_dict().items():
        part, _, rest = key.partition(".")
        if "cross_attn" not in key:
            weights[f"{names[part]}.{rest}"] = weight
    return weights


def test_it_computes_what_monais_unetr_does():
    nets = pytest.importorskip("monai.networks.nets.unetr", reason="the extra `unetr` is not installed")
    from magms_nnunet.networks.unetr import UNETR

    theirs = nets.UNETR(2, CLASSES, (16, 32, 16), **TINY).eval()
    ours = UNETR(2, CLASSES, (16, 32, 16), **TINY).eval()
    ours.load_state_dict(weights_of_monai(theirs))
    assert len(ours.encoder.vit.blocks) == 12
    x = torch.randn(1, 2, 16, 32, 16)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))


def test_default_sizes_are_the_papers():
    nets = pytest.importorskip("monai.networks.nets.unetr", reason="the extra `unetr` is not installed")
    from magms_nnunet.networks.unetr import UNETR

    paper = {"feature_size": 16, "hidden_size": 768, "mlp_dim": 3072, "num_heads": 12}
    with torch.device("meta"):
        ours = UNETR(2, CLASSES, (16, 32, 16)).state_dict()
        theirs = weights_of_monai(nets.UNETR(2, CLASSES, (16, 32, 16), **paper))
    assert {name: weight.shape for name, weight in ours.items()} == {n: weight.shape for n, weight in theirs.items()}


def test_a_vit_b_16_of_the_papers_sizes_has_88_million_weights():
    """Without biases of queries, keys and values; 216 tokens of a patch of 96^3."""
    pytest.importorskip("monai", reason="the extra `unetr` is not installed")
    from magms_nnunet.networks.unetr import UNETR

    embedding = 16**3 * 768 + 768 + 216 * 768
    attention = 3 * 768 * 768 + 768 * 768 + 768
    mlp = 768 * 3072 + 3072 + 3072 * 768 + 768
    layer_norm = 2 * 768
    expected = embedding + 12 * (attention + mlp + 2 * layer_norm) + layer_norm
    with torch.device("meta"):
        vit = UNETR(1, 14, (96, 96, 96)).encoder.vit
    assert sum(p.numel() for p in vit.parameters()) == expected == 88_340_736


@pytest.mark.parametrize("channels", [3, 5])
def test_plans_of_another_dataset_are_refused(tiny, channels):
    with pytest.raises(InputError, match=r"plans normalise 4 channels, but the dataset has"):
        build_multi_encoder_unetr(plans(4), channels, CLASSES)


@pytest.mark.parametrize("build_network", [build_unetr, build_multi_encoder_unetr])
def test_without_monai_the_error_says_what_to_install(monkeypatch, build_network):
    monkeypatch.delitem(sys.modules, "magms_nnunet.networks.unetr", raising=False)
    monkeypatch.setitem(sys.modules, "monai.networks.nets", None)
    with pytest.raises(
        InputError, match=r'^UNETR trainers need MONAI .*: pip install "magms_nnunet\[unetr\]"'
    ) as error:
        build_network(plans(2), 2, CLASSES)
    assert "\n" not in str(error.value)
