"""MAG-MS's loss on a batch whose samples lack modalities."""

import pytest
import torch

from magms_nnunet.losses.distillation import feature_distance, kl_softmax
from magms_nnunet.losses.modality_agnostic import ModalityAgnosticLoss
from magms_nnunet.networks.multi_encoder_unet import BranchFeatures
from tests.losses.test_modality_agnostic import ScaledFirstLevel, branches, dc_and_ce, labels

AVAILABLE = torch.tensor([[True, True], [False, True]])  # the second sample has one modality, and so no teacher


def with_gaps(output: BranchFeatures, available=AVAILABLE) -> BranchFeatures:
    return output._replace(available=available)


def make_loss(**options):
    return ModalityAgnosticLoss(dc_and_ce(), ScaledFirstLevel(), **options)


def test_each_term_is_of_the_samples_that_have_it():
    output, y, dc = branches(), labels(), dc_and_ce()
    loss = make_loss()
    total = loss(with_gaps(output), y)
    (teacher, _), ((first, _), (second, _)) = output.teacher, output.students
    expected = [
        [dc(teacher, y).item(), 0, 0],
        [dc(first[:1], y[:1]).item(), kl_softmax(teacher[:1], first[:1]).item(), _distance(output, 0)],
        [dc(second, y).item(), kl_softmax(teacher[:1], second[:1]).item(), _distance(output, 1)],
    ]
    torch.testing.assert_close(loss.last_terms, torch.tensor(expected))
    torch.testing.assert_close(total, loss.last_terms.sum())


def _distance(output, modality):
    return feature_distance([f[:1] for f in output.teacher], [f[:1] for f in output.students[modality]]).item()


@pytest.mark.parametrize("teacher_gradient", [False, True])
def test_features_of_absent_modalities_get_no_gradient_and_change_none(teacher_gradient):
    output, y = branches(), labels()
    poisoned = BranchFeatures(
        [f.detach().clone().requires_grad_() for f in output.teacher],
        [[f.detach().clone().requires_grad_() for f in student] for student in output.students],
    )
    with torch.no_grad():
        for feature in poisoned.students[0]:
            feature[1] = torch.nan
    gradients = []
    for features in (output, poisoned):
        make_loss(teacher_gradient=teacher_gradient)(with_gaps(features), y).backward()
        all_features = (*features.teacher, *features.students[0], *features.students[1])
        gradients.append([f.grad for f in all_features if f.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 3
    for clean, other in zip(*gradients, strict=True):
        assert torch.equal(clean, other)
    assert all(not f.grad[1].any() for f in output.students[0])


def test_a_modality_that_no_sample_has_counts_nothing_and_its_features_take_part():
    output, y = branches(), labels()
    loss = make_loss()
    loss(with_gaps(output, torch.tensor([[False, True], [False, True]])), y).backward()
    assert not loss.last_terms[1].any()
    assert all(f.grad is not None and not f.grad.any() for f in output.students[0][-1:])
    assert not loss.last_terms[2, 1:].any()  # and nobody has a teacher


def test_the_terms_of_a_modality_count_as_often_as_it_is_weighted():
    output, y, plain, weighted = branches(), labels(), make_loss(), make_loss()
    weighted.modality_weights = [4.0, 1.0]
    for loss in (plain, weighted):
        loss(with_gaps(output), y)
    torch.testing.assert_close(weighted.last_terms, plain.last_terms * torch.tensor([[1.0], [4.0], [1.0]]))
    weighted.students_per_step = 1
    weighted.modality_weights = [4.0, 4.0]
    weighted(output, y)
    (drawn,) = weighted.last_terms[1:, 0].nonzero().flatten().tolist()
    plain(output, y)
    torch.testing.assert_close(weighted.last_terms[1 + drawn], plain.last_terms[1 + drawn] * 8)  # M / K = 2


def test_marks_of_complete_samples_change_nothing():
    output, y = branches(), labels()
    complete, marked = make_loss(), make_loss()
    assert torch.equal(complete(output, y), marked(with_gaps(output, torch.ones(2, 2, dtype=torch.bool)), y))
