import pytest
import torch
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch import nn
from torch.utils._pytree import tree_map

from magms_nnunet.losses.distillation import feature_distance, kl_bernoulli, kl_softmax
from magms_nnunet.losses.modality_agnostic import ModalityAgnosticLoss
from magms_nnunet.networks.from_plans import build_multi_encoder_unet
from magms_nnunet.networks.multi_encoder_unet import BranchFeatures
from tests.networks.conftest import configuration

DICE = {"batch_dice": False, "smooth": 1e-5, "ddp": False}


def dc_and_ce(ignore_label=None):
    return DC_and_CE_loss(
        {**DICE, "do_bg": False}, {}, ignore_label=ignore_label, dice_class=MemoryEfficientSoftDiceLoss
    )


class ScaledFirstLevel(nn.Module):
    """A decoder whose logits a test can choose: the features of the first level times a weight of 1."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, features):
        return features[0] * self.weight


class EveryLevel(ScaledFirstLevel):
    """With deep supervision: logits of two resolutions."""

    def forward(self, features):
        return [super().forward(features), features[1][:, :3]]


def branches(M=2, classes=3):
    def features():
        return [torch.randn(2, classes, 4, 4, requires_grad=True), torch.randn(2, 6, 2, 2, requires_grad=True)]

    return BranchFeatures(features(), [features() for _ in range(M)])


def make_loss(dc=None, decoder=None, **settings):
    return ModalityAgnosticLoss(dc or dc_and_ce(), decoder or ScaledFirstLevel(), **settings)


def labels(classes=3):
    return torch.randint(0, classes, (2, 1, 4, 4)).float()


def test_it_is_equation_2():
    dc, output, y = dc_and_ce(), branches(), labels()
    expected = dc(output.teacher[0], y)
    for features in output.students:
        kl = kl_softmax(output.teacher[0], features[0], temperature=3)
        expected = expected + dc(features[0], y) + 0.5 * kl + 2 * feature_distance(output.teacher, features)
    loss = make_loss(dc, kl_weight=0.5, feature_weight=2, temperature=3)
    torch.testing.assert_close(loss(output, y), expected)


def test_terms_are_reported_one_by_one_and_sum_to_the_loss():
    dc, output, y = dc_and_ce(), branches(), labels()
    loss = make_loss(dc)
    total = loss(output, y)
    terms = loss.last_terms
    assert terms.shape == (3, 3)
    assert not terms.requires_grad
    torch.testing.assert_close(terms.sum(), total)
    torch.testing.assert_close(terms[0], torch.stack([dc(output.teacher[0], y), torch.tensor(0.0), torch.tensor(0.0)]))
    torch.testing.assert_close(terms[2, 1], kl_softmax(output.teacher[0], output.students[1][0]))


def gradients(output, loss, y):
    loss(output, y).backward()
    tensors = [*output.teacher, *(feature for student in output.students for feature in student)]
    return [t.grad for t in (*tensors, *loss.decoder.parameters())]


def test_gradients_are_those_of_equation_2_taken_as_one_graph():
    output, y = branches(), labels()
    at_once = gradients(output, make_loss(kl_weight=0.5, feature_weight=2), y)
    decoder, dc = ScaledFirstLevel(), dc_and_ce()
    fused = [feature.detach() for feature in output.teacher]
    reference = decoder(fused)
    same = tree_map(lambda t: t if t is None else t.detach().clone().requires_grad_(), output)
    expected = dc(decoder(same.teacher), y)
    for features in same.students:
        logits = decoder(features)
        expected = expected + dc(logits, y) + 0.5 * kl_softmax(reference.detach(), logits)
        expected = expected + 2 * feature_distance(fused, features)
    expected.backward()
    tensors = [*same.teacher, *(feature for student in same.students for feature in student), *decoder.parameters()]
    for ours, tensor in zip(at_once, tensors, strict=True):
        if ours is None:
            assert tensor.grad is None
        else:
            torch.testing.assert_close(ours, tensor.grad)


@pytest.mark.parametrize("students", [None, 2])
@pytest.mark.parametrize("kind", ["labels", "labels, some ignored", "regions"])
def test_gradients_of_the_network_are_those_of_equation_2_taken_as_one_graph(kind, students):
    """With nnU-Net's deep supervision, at a size at which the decoder merges its convolutions."""
    M, size, regions = 3, 32, kind == "regions"
    ignore_label = 3 if "ignored" in kind else None
    network, x = build_multi_encoder_unet(configuration(M), M, 3, True), torch.randn(2, M, size, size, size)
    if regions:
        plain = DC_and_BCE_loss({}, {**DICE, "do_bg": True}, dice_class=MemoryEfficientSoftDiceLoss)
        y = [torch.randint(0, 2, (2, 3, s, s, s)).float() for s in (size, size // 2)]
    else:
        plain = dc_and_ce(ignore_label)
        y = [torch.randint(0, 4 if ignore_label else 3, (2, 1, s, s, s)).float() for s in (size, size // 2)]
    dc = DeepSupervisionWrapper(plain, [2 / 3, 1 / 3])
    loss = ModalityAgnosticLoss(
        dc, network.decoder, regions=regions, ignore_label=ignore_label, students_per_step=students
    )
    value = loss(network(x), y)
    value.backward()
    ours = {name: p.grad.clone() for name, p in network.named_parameters()}
    drawn = [m for m in range(M) if loss.last_terms[1 + m].any()]
    assert len(drawn) == (students or M)
    network.zero_grad()
    output = network(x)
    fused = network.decode(output.teacher)
    expected = dc(fused, y)
    mask = y[0] != ignore_label if ignore_label else None
    for m in drawn:
        logits = network.decode(output.students[m])
        divergence = kl_bernoulli if regions else kl_softmax
        distilled = divergence(fused[0].detach(), logits[0], mask=mask)
        distilled = distilled + feature_distance([f.detach() for f in output.teacher], output.students[m])
        expected = expected + M / len(drawn) * (dc(logits, y) + distilled)
    expected.backward()
    torch.testing.assert_close(value, expected)
    for name, p in network.named_parameters():
        torch.testing.assert_close(ours[name], p.grad, rtol=1e-3, atol=1e-5 * max(1, float(p.grad.abs().max())))


def test_gradient_scale_changes_no_gradient():
    y, loss = labels(), make_loss()
    torch.manual_seed(1)
    plain = gradients(branches(), loss, y)
    loss.decoder.weight.grad = None
    loss.gradient_scale = torch.tensor(2.0**16)
    torch.manual_seed(1)
    for a, b in zip(plain, gradients(branches(), loss, y), strict=True):
        assert (a is None and b is None) or torch.equal(a, b)


def test_distillation_does_not_move_the_teacher_unless_asked_to():
    y = labels()

    def teacher_gradients(**settings):
        torch.manual_seed(1)
        return gradients(branches(), make_loss(**settings), y)[:2]

    without_distillation, _ = teacher_gradients(kl_weight=0, feature_weight=0)
    stopped, stopped_coarse = teacher_gradients()
    flowing, flowing_coarse = teacher_gradients(teacher_gradient=True)
    torch.testing.assert_close(stopped, without_distillation)
    assert stopped_coarse is None
    assert not torch.allclose(flowing, without_distillation)
    assert flowing_coarse.abs().sum() > 0


def test_without_weights_it_is_the_sum_of_segmentation_losses():
    """MAG, the paper's ablation: value and gradients."""
    y, dc = labels(), dc_and_ce()
    torch.manual_seed(1)
    ours = branches()
    make_loss(dc, kl_weight=0, feature_weight=0)(ours, y).backward()
    torch.manual_seed(1)
    plain = branches()
    sum(dc(features[0], y) for features in (plain.teacher, *plain.students)).backward()
    for a, b in zip((ours.teacher, *ours.students), (plain.teacher, *plain.students), strict=True):
        torch.testing.assert_close(a[0].grad, b[0].grad)
        assert a[1].grad is None


def test_plain_logits_of_validation_give_the_segmentation_loss():
    dc, y = dc_and_ce(), labels()
    logits = torch.randn(2, 3, 4, 4)
    assert torch.equal(make_loss(dc)(logits, y), dc(logits, y))


def test_without_gradients_the_value_is_the_same():
    loss, output, y = make_loss(), branches(), labels()
    with torch.no_grad():
        value = loss(output, y)
    assert not value.requires_grad
    torch.testing.assert_close(value, loss(output, y))


def test_regions_use_the_bernoulli_kl():
    dc = DC_and_BCE_loss({}, {**DICE, "do_bg": True})
    output, y = branches(), torch.randint(0, 2, (2, 3, 4, 4)).float()
    loss = make_loss(dc, regions=True)
    loss(output, y)
    torch.testing.assert_close(loss.last_terms[1, 1], kl_bernoulli(output.teacher[0], output.students[0][0]))


def poisoned_where(output, ignored):
    """The same features, but with wild logits in ignored voxels."""
    wild = [
        [torch.where(ignored, 50 * torch.randn_like(fine), fine), coarse]
        for fine, coarse in (output.teacher, *output.students)
    ]
    return BranchFeatures(wild[0], wild[1:])


def test_ignored_voxels_count_in_no_term():
    loss = make_loss(dc_and_ce(ignore_label=3), ignore_label=3, feature_weight=0)
    output, y = branches(), labels()
    y[:, :, :2] = 3
    torch.testing.assert_close(loss(poisoned_where(output, y == 3), y), loss(output, y))


def test_ignored_voxels_count_in_no_term_with_regions():
    dc = DC_and_BCE_loss({}, {**DICE, "do_bg": True}, use_ignore_label=True)
    loss = make_loss(dc, regions=True, ignore_label=4, feature_weight=0)
    output, y = branches(), torch.randint(0, 2, (2, 4, 4, 4)).float()
    torch.testing.assert_close(loss(poisoned_where(output, y[:, -1:].bool()), y), loss(output, y))


def test_deep_supervision_weighs_every_scale_of_every_branch_and_kl_only_the_finest():
    dc = DeepSupervisionWrapper(dc_and_ce(), [2 / 3, 1 / 3])
    output, y = branches(), labels()
    coarse_y = labels()[:, :, ::2, ::2]
    loss = make_loss(dc, EveryLevel())
    loss(output, [y, coarse_y])
    fine, coarse = output.students[0]
    torch.testing.assert_close(loss.last_terms[1, 0], dc([fine, coarse[:, :3]], [y, coarse_y]))
    torch.testing.assert_close(loss.last_terms[2, 1], kl_softmax(output.teacher[0], output.students[1][0]))


@pytest.mark.parametrize("M", [1, 2, 5])
def test_any_number_of_modalities(M):
    loss = make_loss()
    assert torch.isfinite(loss(branches(M), labels()))
    assert loss.last_terms.shape == (M + 1, 3)


def test_drawn_students_count_m_over_k_fold_and_the_others_nothing():
    output, y = branches(4), labels()
    every, two = make_loss(), make_loss(students_per_step=2)
    every(output, y)
    total = two(output, y)
    torch.testing.assert_close(two.last_terms.sum(), total)
    torch.testing.assert_close(two.last_terms[0], every.last_terms[0])
    drawn = [m for m in range(4) if two.last_terms[1 + m].any()]
    assert len(drawn) == 2
    for m in drawn:
        torch.testing.assert_close(two.last_terms[1 + m], 2 * every.last_terms[1 + m])


def test_drawn_students_give_the_whole_sum_in_expectation():
    """Over all draws: each of 4 modalities is drawn with the same probability."""
    loss = make_loss(students_per_step=1)
    output, y = branches(4), labels()
    drawn = []
    for _ in range(400):
        loss(output, y)
        drawn.append(int(loss.last_terms[1:, 0].abs().argmax()))
    counts = torch.bincount(torch.tensor(drawn), minlength=4)
    assert counts.min() > 60  # 100 expected; 60 is 4.6 standard deviations below


@pytest.mark.parametrize("K", [3, 7])
def test_as_many_students_as_there_are_modalities_or_more_are_all(K):
    output, y = branches(3), labels()
    torch.testing.assert_close(make_loss(students_per_step=K)(output, y), make_loss()(output, y))
