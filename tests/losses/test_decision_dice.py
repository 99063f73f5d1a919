import pytest
import torch

from magms_nnunet.losses.decision_dice import decision_dice

INF = 1e4


def logits(*rows: list[float]) -> torch.Tensor:
    """One sample with an output per row."""
    return torch.tensor([rows])


def test_certain_decisions_have_their_dice():
    # 2 of 3 predicted voxels are right, and 1 of 3 reference voxels is missed: 2 * 2 / (3 + 3)
    given = logits([INF, INF, INF, -INF, -INF])
    target = torch.tensor([[[1.0, 1, 0, 1, 0]]])
    assert decision_dice(given, target, regions=True) == pytest.approx(2 / 3)


def test_a_doubtful_output_is_sharpened():
    # sigmoid(4 * 0.5) = 0.880797 on one of two reference voxels, 0.119203 on the other
    given, target = logits([0.5, -0.5]), torch.tensor([[[1.0, 1]]])
    assert decision_dice(given, target, regions=True) == pytest.approx(2 * 1 / (1 + 2))
    assert decision_dice(logits([0.5, 0.5]), target, regions=True) == pytest.approx(2 * 1.761594 / (1.761594 + 2))


def test_labels_are_compared_class_by_class_without_the_background():
    given = logits([INF, 0, 0, 0], [0, INF, INF, 0], [0, 0, 0, INF])  # predicts 0 1 1 2
    target = torch.tensor([[[0, 1, 2, 2]]])
    # class 1: 2 * 1 / (2 + 1); class 2: 2 * 1 / (1 + 2)
    assert decision_dice(given, target) == pytest.approx(2 / 3)


def test_a_class_that_the_reference_lacks_does_not_count():
    given = logits([INF, -INF], [INF, INF])
    assert decision_dice(given, torch.tensor([[[1.0, 0], [0, 0]]]), regions=True) == pytest.approx(1)
    assert decision_dice(given, torch.zeros(1, 2, 2), regions=True) == 0


def test_masked_voxels_do_not_count():
    given, target = logits([INF, INF, -INF]), torch.tensor([[[1.0, 0, 1]]])
    mask = torch.tensor([[[True, False, False]]])
    assert decision_dice(given, target, regions=True, mask=mask) == pytest.approx(1)
    labels = torch.tensor([[[1, 9, 9]]])  # 9 marks what is not annotated
    assert decision_dice(logits([0, 0, 0], [INF, INF, INF]), labels, mask=labels != 9) == pytest.approx(1)


def test_the_gradient_moves_a_decision_that_is_too_strict():
    offset = torch.zeros(1, requires_grad=True)
    probable = torch.tensor([[[-1.5, -1.0, -1.2, -6, -6, -6]]])  # doubtful everywhere, and right to be highest there
    target = torch.tensor([[[1.0, 1, 0, 0, 0, 0]]])
    for _ in range(200):
        (gradient,) = torch.autograd.grad(decision_dice(probable + offset, target, regions=True), offset)
        offset = (offset + gradient).detach().requires_grad_()
    decided = probable + offset > 0
    assert decided.flatten().tolist() == [True, True, True, False, False, False] or offset > 1
