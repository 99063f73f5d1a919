import copy

import pytest
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch import nn
from torch.nn.parameter import Parameter

from magms_nnunet.cpu.convolution import Conv3d
from magms_nnunet.cpu.decoder import PointwiseConv3d
from magms_nnunet.errors import InputError
from magms_nnunet.networks.from_plans import build_multi_encoder_unet
from tests.networks.conftest import configuration


def image(num_channels, dim=3, batch=2, size=16):
    return torch.randn(batch, num_channels, *[size] * dim)


def available(*rows):
    return torch.tensor(rows, dtype=torch.bool)


@pytest.mark.parametrize("unet", ["PlainConvUNet", "ResidualEncoderUNet"])
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("num_modalities", [1, 2, 4])
@pytest.mark.parametrize("extra", [0, 2])
def test_output_has_one_logit_map_per_class(build, unet, dim, num_modalities, extra):
    network = build(num_modalities, extra, dim, unet).eval()
    assert network(image(num_modalities + extra, dim)).shape == (2, 3, *[16] * dim)


def test_deep_supervision_returns_all_resolutions_highest_first(build):
    network = build(2, deep_supervision=True)
    output = network(image(2))
    for features in (output.teacher, *output.students):
        assert [tuple(scale.shape[2:]) for scale in network.decode(features)] == [(16, 16, 16), (8, 8, 8)]
    network.decoder.deep_supervision = False
    assert network.eval()(image(2)).shape == (2, 3, 16, 16, 16)


@pytest.mark.parametrize("unet", ["PlainConvUNet", "ResidualEncoderUNet"])
@pytest.mark.parametrize(("dim", "size"), [(3, 16), (3, 32), (2, 128)])  # the last two predict channels-last
def test_with_one_modality_it_is_the_unet_of_the_plans(build, unet, dim, size):
    plans = configuration(1, dim, unet)
    stock = get_network_from_plans(
        plans.network_arch_class_name,
        plans.network_arch_init_kwargs,
        plans.network_arch_init_kwargs_req_import,
        1,
        3,
        deep_supervision=False,
    ).eval()
    network = build(1, dim=dim, unet=unet).eval()
    network.encoders[0].load_state_dict(stock.encoder.state_dict())
    decoder = {k: v for k, v in stock.decoder.state_dict().items() if not k.startswith("encoder.")}
    network.decoder.load_state_dict(decoder)
    x = image(1, dim, size=size)
    expected = stock(x)
    torch.testing.assert_close(network(x), expected, rtol=0, atol=4e-5)  # kernels differ between CPUs
    with torch.inference_mode():
        torch.testing.assert_close(network(x), expected, rtol=0, atol=4e-5)  # kernels differ between CPUs


@pytest.mark.parametrize("unet", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_prediction_of_large_features_is_that_of_training_up_to_rounding(build, unet):
    network, x = build(3, unet=unet), image(3, size=32)
    expected = network.decode(network(x).teacher)
    with torch.inference_mode():
        torch.testing.assert_close(network.eval()(x), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e6])
def test_absent_voxels_never_reach_the_logits(build, poison):
    network = build(4, extra=1).eval()
    x = image(5)
    given = available([1, 0, 1, 0], [0, 1, 1, 0])
    expected = network(x, given)
    poisoned = x.clone()
    poisoned[0, [1, 3]] = poison
    poisoned[1, [0, 3]] = poison
    assert torch.equal(network(poisoned, given), expected)


@pytest.mark.parametrize("unet", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_every_3d_convolution_is_the_faster_one(build, unet):
    convolutions = [layer for layer in build(2, unet=unet).modules() if isinstance(layer, nn.Conv3d)]
    assert convolutions
    assert {type(layer) for layer in convolutions} == {Conv3d, PointwiseConv3d}  # the latter: the projections of skips


def test_absent_voxels_never_reach_the_teacher_in_training(build):
    network = build(3)
    x = image(3)
    x[0, 1] = float("nan")
    output = network(x, available([1, 0, 1], [1, 1, 1]))
    logits = network.decode(output.teacher)
    logits.sum().backward()
    assert torch.isfinite(logits).all()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_each_sample_of_a_batch_is_fused_from_its_own_modalities(build):
    network = build(3).eval()
    x = image(3)
    mixed = network(x, available([1, 0, 0], [0, 1, 1]))
    torch.testing.assert_close(mixed[:1], network(x[:1], available([1, 0, 0])), rtol=0, atol=1e-5)
    torch.testing.assert_close(mixed[1:], network(x[1:], available([0, 1, 1])), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("given", "calls"), [([0, 1, 0, 0], 1), ([1, 0, 1, 0], 2), ([1, 1, 1, 1], 4)])
def test_encoders_of_absent_modalities_do_not_run(build, given, calls):
    network, count = build(4).eval(), []
    for encoder in network.encoders:
        encoder.register_forward_hook(lambda *_: count.append(1))
    network(image(4, batch=1), available(given))
    assert len(count) == calls


def test_all_encoders_take_part_in_training_whatever_is_available(build):
    network = build(3)
    network.decode(network(image(3), available([1, 0, 0], [1, 0, 0])).teacher).sum().backward()
    assert all(encoder.stages[0][0].convs[0].conv.weight.grad is not None for encoder in network.encoders)


def test_no_modality_is_an_error(build):
    with pytest.raises(ValueError, match="without any modality"):
        build(2).eval()(image(2), available([1, 0], [0, 0]))


def test_mask_of_another_shape_is_an_error(build):
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(1, 3\)"):
        build(3).eval()(image(3), available([1, 0, 0]))


def test_permuting_modalities_with_their_encoders_changes_nothing(build):
    network, order = build(3).eval(), [2, 0, 1]
    permuted = copy.deepcopy(network)
    for position, m in enumerate(order):
        permuted.encoders[position].load_state_dict(network.encoders[m].state_dict())
        permuted.projections[position].load_state_dict(network.projections[m].state_dict())
    x = image(3)
    torch.testing.assert_close(permuted(x[:, order]), network(x), rtol=0, atol=1e-5)
    mask = available([1, 1, 0], [0, 1, 1])
    torch.testing.assert_close(permuted(x[:, order], mask[:, order]), network(x, mask), rtol=0, atol=1e-5)


def test_eval_logits_are_those_of_the_teacher_in_training(build):
    network, x = build(4), image(4)
    teacher = network.train()(x).teacher
    assert torch.equal(network.eval()(x), network.decode(teacher))


def test_a_student_is_what_that_modality_alone_predicts(build):
    network, x = build(3), image(3)
    student = network.decode(network.train()(x).students[1])
    torch.testing.assert_close(network.eval()(x, available([0, 1, 0], [0, 1, 0])), student, rtol=0, atol=1e-6)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dropout", [False, True])
def test_recomputed_encoders_give_the_same_gradients(autocast, dropout):
    plans = configuration(3)
    if dropout:
        kwargs = plans.configuration["architecture"]["arch_kwargs"]
        kwargs |= {"dropout_op": "torch.nn.modules.dropout.Dropout3d", "dropout_op_kwargs": {"p": 0.5}}
    network, x = build_multi_encoder_unet(plans, 3, 3, False), image(3)

    def gradients():
        torch.manual_seed(0)  # of the dropout
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            output = network(x)
        sum(feature.square().sum() for branch in (output.teacher, *output.students) for feature in branch).backward()
        return [p.grad for p in network.parameters() if p.grad is not None]

    kept = gradients()
    network.recompute_encoders = True
    for a, b in zip(kept, gradients(), strict=True):
        assert torch.equal(a, b)


def test_no_weight_stands_twice(build):
    network = build(2, unet="ResidualEncoderUNet")
    assert not any(".encoder." in key for key in network.state_dict())
    assert len({p.data_ptr() for p in network.parameters()}) == len(list(network.parameters()))


def test_encoders_start_with_weights_of_their_own(build):
    first, second = build(2).encoders
    assert not torch.equal(next(first.parameters()), next(second.parameters()))


def test_state_dict_round_trip_gives_the_same_logits(build):
    a, b, x = build(2).eval(), build(2).eval(), image(2)
    assert not torch.equal(a(x), b(x))
    b.load_state_dict(a.state_dict())
    assert torch.equal(a(x), b(x))


def test_projections_have_no_bias_and_a_modality_alone_passes_its_own(build):
    network, x = build(2).eval(), image(2)
    assert not any(projection.bias is not None for level in network.projections for projection in level)
    before = network(x, available([1, 0], [1, 0]))
    network.projections[0][0].weight = Parameter(network.projections[0][0].weight * 3)
    assert not torch.equal(network(x, available([1, 0], [1, 0])), before)


@pytest.mark.parametrize("num_modalities", [1, 4])
def test_feature_map_size_counts_m_encoders_and_one_decoder_pass_at_a_time(build, num_modalities):
    network = build(num_modalities)
    # Levels 16^3, 8^3, 4^3 with 4, 6, 8 features; one convolution per stage; two decoder stages of one transposed and
    # one or two ordinary convolutions; 3 classes at full resolution, as there is no deep supervision.
    encoder = 4 * 16**3 + 6 * 8**3 + 8 * 4**3
    decoder = (6 + 6) * 8**3 + (4 + 4 + 4) * 16**3 + 3 * 16**3
    fusion = (num_modalities + 1) * encoder
    expected = num_modalities * encoder + decoder + fusion
    assert network.compute_conv_feature_map_size((16, 16, 16)) == expected


@pytest.mark.parametrize("channels", [3, 5])
def test_plans_of_another_dataset_are_refused(channels):
    with pytest.raises(InputError, match=r"plans normalise 4 channels, but the dataset has"):
        build_multi_encoder_unet(configuration(4), channels, 2, False)


def test_plans_of_another_network_are_refused():
    plans = configuration(2)
    plans.configuration["architecture"]["network_class_name"] = (
        "dynamic_network_architectures.architectures.unet.ResidualUNet"
    )
    plans.configuration["architecture"]["arch_kwargs"]["n_blocks_per_stage"] = [1, 1, 1]
    del plans.configuration["architecture"]["arch_kwargs"]["n_conv_per_stage"]
    with pytest.raises(InputError, match="ResidualUNet"):
        build_multi_encoder_unet(plans, 2, 2, False)


def test_torch_compile_captures_the_whole_pass(build, monkeypatch):
    """As nnU-Net compiles it for a GPU; the back end makes no difference to what is captured."""
    monkeypatch.setattr("magms_nnunet.cpu.decoder.on_plain_cpu", lambda x: False)  # compiled it is not, either
    network, x = build(3, deep_supervision=True), image(3)
    expected = network(x)
    expected_logits = network.decode(expected.teacher)
    network.decoder.compile(backend="eager", fullgraph=True)  # as MAGMSTrainer does
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    assert torch.equal(compiled(x).students[1][0], expected.students[1][0])
    assert torch.equal(network.decoder(compiled(x).teacher)[1], expected_logits[1])
    network.eval()
    network.decoder.deep_supervision = False
    assert torch.equal(compiled(x), network(x))
