import pytest
import torch
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

from magms_nnunet.losses.distillation import feature_distance, kl_bernoulli, kl_softmax
from magms_nnunet.losses.modality_agnostic import ModalityAgnosticLoss
from magms_nnunet.networks.multi_encoder_unet import BranchOutputs

DICE = {"batch_dice": False, "smooth": 1e-5, "ddp": False}


def dc_and_ce(ignore_label=None):
    return DC_and_CE_loss(
        {**DICE, "do_bg": False}, {}, ignore_label=ignore_label, dice_class=MemoryEfficientSoftDiceLoss
    )


def branches(M=2, classes=3, scales=None):
    def logits():
        return torch.randn(2, classes, 4, 4, requires_grad=True)

    def features():
        return [torch.randn(2, 5, 4, 4, requires_grad=True), torch.randn(2, 6, 2, 2, requires_grad=True)]

    return BranchOutputs(logits(), [logits() for _ in range(M)], [features() for _ in range(M)], features())


def labels(classes=3):
    return torch.randint(0, classes, (2, 1, 4, 4)).float()


def test_it_is_equation_2():
    dc, output, y = dc_and_ce(), branches(), labels()
    loss = ModalityAgnosticLoss(dc, kl_weight=0.5, feature_weight=2, temperature=3)
    expected = dc(output.teacher, y)
    for student, features in zip(output.students, output.student_features, strict=True):
        expected = expected + dc(student, y) + 0.5 * kl_softmax(output.teacher, student, temperature=3)
        expected = expected + 2 * feature_distance(output.teacher_features, features)
    torch.testing.assert_close(loss(output, y), expected)


def test_terms_are_reported_one_by_one_and_sum_to_the_loss():
    dc, output, y = dc_and_ce(), branches(), labels()
    loss = ModalityAgnosticLoss(dc)
    total = loss(output, y)
    terms = loss.last_terms
    assert terms.shape == (3, 3)
    assert not terms.requires_grad
    torch.testing.assert_close(terms.sum(), total)
    torch.testing.assert_close(terms[0], torch.stack([dc(output.teacher, y), torch.tensor(0.0), torch.tensor(0.0)]))
    torch.testing.assert_close(terms[2, 1], kl_softmax(output.teacher, output.students[1]))


def test_distillation_does_not_move_the_teacher_unless_asked_to():
    y = labels()

    def teacher_gradients(**settings):
        torch.manual_seed(1)
        output = branches()
        ModalityAgnosticLoss(dc_and_ce(), **settings)(output, y).backward()
        return output.teacher.grad, output.teacher_features[0].grad

    without_distillation, _ = teacher_gradients(kl_weight=0, feature_weight=0)
    stopped, stopped_features = teacher_gradients()
    flowing, flowing_features = teacher_gradients(teacher_gradient=True)
    torch.testing.assert_close(stopped, without_distillation)
    assert stopped_features is None
    assert not torch.allclose(flowing, without_distillation)
    assert flowing_features.abs().sum() > 0


def test_without_weights_it_is_the_sum_of_segmentation_losses():
    """MAG, the paper's ablation: value and gradients."""
    y = labels()
    torch.manual_seed(1)
    ours = branches()
    ModalityAgnosticLoss(dc_and_ce(), kl_weight=0, feature_weight=0)(ours, y).backward()
    torch.manual_seed(1)
    plain = branches()
    dc = dc_and_ce()
    sum(dc(logits, y) for logits in (plain.teacher, *plain.students)).backward()
    for a, b in zip((ours.teacher, *ours.students), (plain.teacher, *plain.students), strict=True):
        torch.testing.assert_close(a.grad, b.grad)
    assert ours.student_features[0][0].grad is None


def test_plain_logits_of_validation_give_the_segmentation_loss():
    dc, y = dc_and_ce(), labels()
    logits = torch.randn(2, 3, 4, 4)
    assert torch.equal(ModalityAgnosticLoss(dc)(logits, y), dc(logits, y))


def test_regions_use_the_bernoulli_kl():
    dc = DC_and_BCE_loss({}, {**DICE, "do_bg": True})
    output, y = branches(), torch.randint(0, 2, (2, 3, 4, 4)).float()
    loss = ModalityAgnosticLoss(dc, regions=True)
    loss(output, y)
    torch.testing.assert_close(loss.last_terms[1, 1], kl_bernoulli(output.teacher, output.students[0]))


def poisoned_where(output, ignored):
    """The same outputs, but with wild logits in ignored voxels."""
    wild = [torch.where(ignored, 50 * torch.randn_like(x), x) for x in (output.teacher, *output.students)]
    return output._replace(teacher=wild[0], students=wild[1:])


def test_ignored_voxels_count_in_no_term():
    loss = ModalityAgnosticLoss(dc_and_ce(ignore_label=3), ignore_label=3)
    output, y = branches(), labels()
    y[:, :, :2] = 3
    torch.testing.assert_close(loss(poisoned_where(output, y == 3), y), loss(output, y))


def test_ignored_voxels_count_in_no_term_with_regions():
    dc = DC_and_BCE_loss({}, {**DICE, "do_bg": True}, use_ignore_label=True)
    loss = ModalityAgnosticLoss(dc, regions=True, ignore_label=4)
    output, y = branches(), torch.randint(0, 2, (2, 4, 4, 4)).float()
    torch.testing.assert_close(loss(poisoned_where(output, y[:, -1:].bool()), y), loss(output, y))


def test_deep_supervision_weighs_every_scale_of_every_branch_and_kl_only_the_finest():
    dc = DeepSupervisionWrapper(dc_and_ce(), [2 / 3, 1 / 3])
    fine, y = branches(), labels()
    coarse_y = labels()[:, :, ::2, ::2]

    def scales(logits):
        return [logits, torch.randn(2, 3, 2, 2)]

    output = fine._replace(teacher=scales(fine.teacher), students=[scales(s) for s in fine.students])
    loss = ModalityAgnosticLoss(dc)
    loss(output, [y, coarse_y])
    torch.testing.assert_close(loss.last_terms[1, 0], dc(output.students[0], [y, coarse_y]))
    torch.testing.assert_close(loss.last_terms[2, 1], kl_softmax(fine.teacher, fine.students[1]))


@pytest.mark.parametrize("M", [1, 2, 5])
def test_any_number_of_modalities(M):
    loss = ModalityAgnosticLoss(dc_and_ce())
    assert torch.isfinite(loss(branches(M), labels()))
    assert loss.last_terms.shape == (M + 1, 3)
