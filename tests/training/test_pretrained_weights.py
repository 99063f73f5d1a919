"""Fine-tuning with our trainers: weights arrive from models of the same kind and from U-Nets, as data."""

import copy
import sys
from functools import partial

import pytest
import torch
from nnunetv2.run import run_training
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from magms_nnunet.errors import InputError, InputWarning
from magms_nnunet.networks.from_plans import build_any_subset_unet, build_multi_encoder_unet
from magms_nnunet.networks.hemis_unet import HeMISUNet
from magms_nnunet.networks.multi_encoder_unet import MultiEncoderUNet
from magms_nnunet.training import pretrained_weights
from magms_nnunet.training.pretrained_weights import load_data, weights_for
from tests.networks.conftest import configuration
from tests.trainers.conftest import make_trainer  # noqa: F401 (a fixture)

M = 3
BOTH_UNETS = pytest.mark.parametrize("unet", ["PlainConvUNet", "ResidualEncoderUNet"])
BOTH_NETWORKS = pytest.mark.parametrize("build", [build_any_subset_unet, build_multi_encoder_unet])
STEM = "encoder.stages.0.0.convs.0.conv.weight"


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


def stock(channels, unet="PlainConvUNet", outputs=5, dim=3):
    """A U-Net as stock nnU-Net trains it, with random biases and norms as after a training."""
    plans = configuration(channels, dim, unet)
    network = get_network_from_plans(
        plans.network_arch_class_name,
        plans.network_arch_init_kwargs,
        plans.network_arch_init_kwargs_req_import,
        channels,
        outputs,
        deep_supervision=False,
    ).eval()
    generator = torch.Generator().manual_seed(channels)
    for parameter in network.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator))
    return network


def ours(build, unet="PlainConvUNet", extra=0, outputs=5, dim=3):
    plans = configuration(M, dim, unet)
    if extra:
        plans.configuration["previous_stage"] = "3d_lowres"
    return build(plans, M + extra, outputs, False).eval()


def loaded(network, weights, tmp_path, **others):
    """The network after its start from these weights, and a copy of it as it was."""
    start = copy.deepcopy(network)
    torch.save({"network_weights": weights, **others}, tmp_path / "model.pth")
    load_data(network, str(tmp_path / "model.pth"))
    return network, start


def image(channels, dim=3):
    return torch.randn(2, channels, *[16] * dim, generator=torch.Generator().manual_seed(0))


def assert_same(features, expected):
    for one, other in zip(features, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("unet", "dim"), [("PlainConvUNet", 3), ("PlainConvUNet", 2), ("ResidualEncoderUNet", 3)])
def test_repeated_image_gives_the_features_of_the_single_channel_unet(unet, dim, tmp_path, capsys):
    pretrained = stock(1, unet, dim=dim)
    network, _ = loaded(ours(build_any_subset_unet, unet, dim=dim), pretrained.state_dict(), tmp_path)
    x = image(1, dim)
    repeated = x.repeat(1, M, *[1] * dim)
    assert_same(network.encoder(repeated), pretrained.encoder(x))
    network.decoder.seg_layers.load_state_dict(pretrained.decoder.seg_layers.state_dict())
    torch.testing.assert_close(network(repeated), pretrained(x), rtol=1e-4, atol=1e-3)
    assert "pretrained weights of a single-channel model, its stem repeated, " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("unet", "kind"),
    [("PlainConvUNet", MultiEncoderUNet), ("ResidualEncoderUNet", MultiEncoderUNet), ("PlainConvUNet", HeMISUNet)],
)
def test_each_encoder_gives_the_skips_of_the_single_channel_unet(unet, kind, tmp_path, capsys):
    pretrained = stock(1, unet)
    network, _ = loaded(ours(partial(build_multi_encoder_unet, network=kind), unet), pretrained.state_dict(), tmp_path)
    x = image(M)
    for m in range(M):
        assert_same(network.encode(x, m), pretrained.encoder(x[:, m : m + 1]))
    assert "weights of a single-channel model, loaded into each encoder, " in capsys.readouterr().out
    for name, weight in network.decoder.state_dict().items():
        assert torch.equal(weight, pretrained.decoder.state_dict()[name]) != name.startswith("seg_layers."), name


@BOTH_UNETS
def test_split_stems_add_up_to_the_stem_of_all_channels(unet, tmp_path, capsys):
    pretrained = stock(M, unet)
    network, _ = loaded(ours(build_multi_encoder_unet, unet), pretrained.state_dict(), tmp_path)
    stem = (lambda encoder: encoder.stages[0][0]) if unet == "PlainConvUNet" else (lambda encoder: encoder.stem)
    x = image(M)
    parts = [stem(encoder).convs[0].conv(x[:, m : m + 1]) for m, encoder in enumerate(network.encoders)]
    torch.testing.assert_close(sum(parts), stem(pretrained.encoder).convs[0].conv(x), rtol=1e-4, atol=1e-4)
    assert "weights of a model of 3 channels, its stem split, " in capsys.readouterr().out
    for encoder in network.encoders:
        assert torch.equal(list(encoder.parameters())[-1], list(pretrained.encoder.parameters())[-1])


@BOTH_UNETS
def test_a_unet_of_all_channels_loads_as_it_is(unet, tmp_path, capsys):
    pretrained = stock(M, unet)
    network, start = loaded(ours(build_any_subset_unet, unet), pretrained.state_dict(), tmp_path)
    theirs = pretrained.state_dict()
    for name, weight in network.state_dict().items():
        kept = ".modulation." in name or "seg_layers." in name or name.startswith(("decision_offset.", "estimate."))
        assert torch.equal(weight, start.state_dict()[name] if kept else theirs[name]), name
    assert "weights of a model of 3 channels, " in capsys.readouterr().out


@BOTH_NETWORKS
@pytest.mark.parametrize("channels", [1, M, M + 2])
def test_channels_of_a_previous_stage_keep_their_start(build, channels, tmp_path):
    pretrained = stock(channels)
    network, start = loaded(ours(build, extra=2), pretrained.state_dict(), tmp_path)
    theirs = pretrained.state_dict()[STEM][:, :M]
    if build is build_multi_encoder_unet:
        for m, (encoder, before) in enumerate(zip(network.encoders, start.encoders, strict=True)):
            (weight, *_), (begun, *_) = encoder.parameters(), before.parameters()
            assert torch.equal(weight[:, 1:], begun[:, 1:])
            assert torch.equal(weight[:, :1], theirs if channels == 1 else theirs[:, m : m + 1])
    else:
        (weight, *_), (begun, *_) = network.encoder.parameters(), start.encoder.parameters()
        assert torch.equal(weight[:, M:], begun[:, M:])
        expected = theirs.repeat(1, M, 1, 1, 1) / M if channels == 1 else theirs
        assert torch.equal(weight[:, :M], expected)


@BOTH_NETWORKS
def test_a_decoder_is_taken_where_it_fits(build, tmp_path):
    pretrained = stock(1)
    other = "decoder.stages.1.convs.0.norm.weight"
    weights = {**pretrained.state_dict(), other: torch.zeros(99), "decoder.more": torch.zeros(1)}
    del weights["decoder.transpconvs.0.bias"]
    network, start = loaded(ours(build), weights, tmp_path)
    after, before, theirs = network.state_dict(), start.state_dict(), pretrained.state_dict()
    assert torch.equal(after["decoder.transpconvs.0.bias"], before["decoder.transpconvs.0.bias"])
    assert torch.equal(after["decoder.transpconvs.0.weight"], theirs["decoder.transpconvs.0.weight"])


NNSSL = [
    ("encoder.stages", "encoder.stem", "encoder.", "decoder."),
    ("online_encoder.stages", "online_encoder.stem", "online_encoder.", "decoder."),
    ("net.encoder", "net.encoder.stem", "net.encoder.", "net.decoder."),
]


@BOTH_NETWORKS
@pytest.mark.parametrize(("stages", "stem", "encoder", "decoder"), NNSSL)
def test_weights_of_nnssl_are_found_under_the_prefixes_that_it_names(build, stages, stem, encoder, decoder, tmp_path):
    pretrained = stock(1, "ResidualEncoderUNet")
    weights = {f"target.{name}": torch.zeros(1) for name in pretrained.state_dict()}
    weights |= {encoder + name: weight for name, weight in pretrained.encoder.state_dict().items()}
    weights |= {
        decoder + name: weight
        for name, weight in pretrained.decoder.state_dict().items()
        if not name.startswith("encoder.")
    }
    plan = {"key_to_encoder": stages, "key_to_stem": stem, "pretrain_num_input_channels": 1}
    network, _ = loaded(ours(build, "ResidualEncoderUNet"), weights, tmp_path, nnssl_adaptation_plan=plan)
    x = image(1)
    of_each = (
        network.encoders if build is build_multi_encoder_unet else [lambda x: network.encoder(x.repeat(1, M, 1, 1, 1))]
    )
    for encode in of_each:
        assert_same(encode(x), pretrained.encoder(x))
    assert torch.equal(network.decoder.transpconvs[0].weight, pretrained.decoder.transpconvs[0].weight)


def test_nnssl_may_name_a_stem_beside_the_encoder_or_the_first_stage():
    plain, residual = stock(1), stock(1, "ResidualEncoderUNet")
    plan = {"key_to_encoder": "encoder.stages", "key_to_stem": "encoder.stages.0"}
    checkpoint = {"network_weights": plain.state_dict(), "nnssl_adaptation_plan": plan}
    _, weights = weights_for(ours(build_multi_encoder_unet), checkpoint)
    assert torch.equal(weights[f"encoders.2.{STEM.removeprefix('encoder.')}"], plain.state_dict()[STEM])
    beside = {name.replace("encoder.stem.", "stem."): weight for name, weight in residual.state_dict().items()}
    plan = {"key_to_encoder": "encoder.stages", "key_to_stem": "stem"}
    checkpoint = {"network_weights": beside, "nnssl_adaptation_plan": plan}
    _, weights = weights_for(ours(build_multi_encoder_unet, "ResidualEncoderUNet"), checkpoint)
    assert torch.equal(weights["encoders.0.stem.convs.0.conv.weight"], beside["stem.convs.0.conv.weight"])


@BOTH_NETWORKS
@pytest.mark.parametrize(
    ("name", "weight", "message"),
    [
        (
            STEM,
            torch.zeros(4, 2, 3, 3, 3),
            r"is 4x2x3x3x3 there and 4x{}x3x3x3 here: take a model of one channel or of 3",
        ),
        (
            STEM,
            torch.zeros(9, 1, 3, 3, 3),
            r"is 9x1x3x3x3 there and 4x{}x3x3x3 here: plan this dataset with that model's",
        ),
        (STEM, torch.zeros(4), r"is 4 there and 4x{}x3x3x3 here: plan"),
        (
            "encoder.stages.2.0.convs.0.conv.weight",
            torch.zeros(8, 6, 1, 3, 3),
            "is 8x6x1x3x3 there and 8x6x3x3x3 here: plan",
        ),
    ],
)
def test_what_does_not_fit_is_one_line_with_both_shapes(build, name, weight, message, tmp_path):
    network = ours(build)
    torch.save({"network_weights": {**stock(1).state_dict(), name: weight}}, tmp_path / "other.pth")
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(InputError) as error:
        load_data(network, str(tmp_path / "other.pth"))
    expected = message.format(M if build is build_any_subset_unet else 1)
    assert f"other.pth: {name} {expected}" in str(error.value)
    assert "\n" not in str(error.value)
    assert all(torch.equal(weight, before[name]) for name, weight in network.state_dict().items())


@BOTH_NETWORKS
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"network_weights": {"encoder.stem": [1]}},
            r"it has no encoder\.stages\.0\..*: take a U-Net like that of this",
        ),
        ({"state_dict": {}}, "it has no network_weights: take a checkpoint of nnU-Net or nnssl"),
        ({"network_weights": 3}, "it has no network_weights: take a checkpoint of nnU-Net or nnssl"),
        (
            {"network_weights": {}, "nnssl_adaptation_plan": {"key_to_encoder": "eva", "key_to_stem": None}},
            r"it has no encoder\.stages\.0\.",
        ),
    ],
)
def test_what_is_no_unet_is_one_line(build, content, message, tmp_path):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(InputError, match=rf"^-pretrained_weights .*other\.pth: {message}"):
        load_data(ours(build), str(tmp_path / "other.pth"))


def test_decisions_of_a_model_of_this_kind_are_left_with_its_labels(tmp_path, capsys):
    """As are its segmentation layers, so that its labels may be others."""
    pretrained = ours(build_any_subset_unet, outputs=4)
    pretrained.decision_offset.output.bias.data.fill_(1)
    network, _ = loaded(ours(build_any_subset_unet, outputs=2), pretrained.state_dict(), tmp_path)
    assert not network.decision_offset.output.bias.any()
    assert_same(network.encoder(image(M)), pretrained.encoder(image(M)))
    assert "weights of a model of this kind, " in capsys.readouterr().out
