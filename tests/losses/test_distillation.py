import math

import pytest
import torch

from magms_nnunet.losses.distillation import feature_distance, kl_bernoulli, kl_softmax


def voxels(*logits):
    """Logits of each voxel -> (1, C, voxels, 1)."""
    return torch.tensor(logits, dtype=torch.float32).T[None, :, :, None]


LN3 = math.log(3)


def test_kl_softmax_by_hand():
    # teacher (3/4, 1/4), student (1/2, 1/2): 3/4 ln(3/2) + 1/4 ln(1/2) = 0.130812
    assert kl_softmax(voxels([LN3, 0]), voxels([0, 0])).item() == pytest.approx(0.130812, abs=1e-6)


def test_kl_is_summed_over_classes_and_averaged_over_voxels():
    # a second voxel where both agree halves the mean
    kl = kl_softmax(voxels([LN3, 0], [1, 2]), voxels([0, 0], [1, 2]))
    assert kl.item() == pytest.approx(0.130812 / 2, abs=1e-6)


def test_temperature_divides_the_logits_of_both_sides_and_the_loss_grows_by_its_square():
    # T = 2 halves the logits: teacher softmax(2 ln3 / 2, 0) = (3/4, 1/4), student softmax(2 ln2 / 2, 0) = (2/3, 1/3);
    # KL = 3/4 ln(9/8) + 1/4 ln(3/4) = 0.016417, times 4
    kl = kl_softmax(voxels([2 * LN3, 0]), voxels([2 * math.log(2), 0]), temperature=2)
    assert kl.item() == pytest.approx(4 * 0.016417, abs=1e-5)


def test_kl_bernoulli_by_hand():
    # teacher sigmoid(ln 3) = 3/4, student 1/2: as the two-class case above; the second region agrees
    kl = kl_bernoulli(voxels([LN3, 5]), voxels([0, 5]))
    assert kl.item() == pytest.approx(0.130812, abs=1e-6)


@pytest.mark.parametrize("kl", [kl_softmax, kl_bernoulli])
def test_kl_is_zero_where_student_equals_teacher_and_positive_elsewhere(kl):
    teacher, student = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    assert kl(teacher, teacher).item() == pytest.approx(0, abs=1e-6)
    assert kl(teacher, student).item() > 0


@pytest.mark.parametrize("kl", [kl_softmax, kl_bernoulli])
def test_kl_goes_from_teacher_to_student(kl):
    a, b = voxels([3.0, 0.0]), voxels([0.0, 1.0])
    assert kl(a, b).item() != pytest.approx(kl(b, a).item(), abs=1e-3)


@pytest.mark.parametrize("kl", [kl_softmax, kl_bernoulli])
def test_masked_voxels_do_not_count(kl):
    teacher, student = torch.randn(1, 2, 4, 1), torch.randn(1, 2, 4, 1)
    mask = torch.tensor([True, True, False, False]).view(1, 1, 4, 1)
    expected = kl(teacher[:, :, :2], student[:, :, :2])
    teacher[:, :, 2:] = float("nan")
    torch.testing.assert_close(kl(teacher, student, mask=mask), expected)


@pytest.mark.parametrize("kl", [kl_softmax, kl_bernoulli])
def test_kl_is_zero_where_no_voxel_counts(kl):
    nothing = torch.zeros(1, 1, 4, 1, dtype=torch.bool)
    assert kl(torch.randn(1, 2, 4, 1), torch.randn(1, 2, 4, 1), mask=nothing).item() == 0


@pytest.mark.parametrize("kl", [kl_softmax, kl_bernoulli])
def test_kl_of_extreme_half_precision_logits_is_finite(kl):
    teacher = voxels([6e4, -6e4]).half()
    student = (-teacher).requires_grad_()
    loss = kl(teacher, student)
    loss.backward()
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)
    assert torch.isfinite(student.grad).all()


def test_feature_distance_by_hand():
    # level 1: mean of (2^2, 0) = 2; level 2: 3^2 = 9; mean over levels 5.5
    student = [torch.tensor([2.0, 0.0]), torch.tensor([3.0])]
    teacher = [torch.zeros(2), torch.zeros(1)]
    assert feature_distance(teacher, student).item() == pytest.approx(5.5)


def test_feature_distance_does_not_grow_with_the_patch():
    small = feature_distance([torch.zeros(1, 2, 4, 4)], [torch.ones(1, 2, 4, 4)])
    large = feature_distance([torch.zeros(1, 2, 8, 8)], [torch.ones(1, 2, 8, 8)])
    assert small == large == 1


def test_feature_distance_needs_the_same_levels():
    with pytest.raises(ValueError, match="zip"):
        feature_distance([torch.zeros(1)], [torch.zeros(1), torch.zeros(1)])
