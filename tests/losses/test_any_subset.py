import pytest
import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

from magms_nnunet.losses.any_subset import AnySubsetLoss
from magms_nnunet.networks.any_subset_unet import SubsetLogits
from magms_nnunet.networks.decision_offset import DecisionOffset


def nnunets_loss(ignore_label=None):
    dice = {"batch_dice": False, "smooth": 1e-5, "do_bg": False}
    loss = DC_and_CE_loss(dice, {}, ignore_label=ignore_label, dice_class=MemoryEfficientSoftDiceLoss)
    return DeepSupervisionWrapper(loss, [0.7, 0.3])


def output_and_target():
    torch.manual_seed(0)
    logits = [torch.randn(2, 3, s, s, requires_grad=True) for s in (8, 4)]
    target = [torch.randint(0, 3, (2, 1, s, s)).float() for s in (8, 4)]
    return SubsetLogits(logits, torch.tensor([[True, False], [True, True]])), target


def test_the_networks_gradients_are_those_of_nnunets_loss():
    output, target = output_and_target()
    expected = torch.autograd.grad(nnunets_loss()(output.logits, target), output.logits)
    offset = DecisionOffset(2, 3)
    gradients = torch.autograd.grad(AnySubsetLoss(nnunets_loss(), offset)(output, target), output.logits)
    assert all(torch.equal(a, b) for a, b in zip(gradients, expected, strict=True))


def test_each_subset_moves_its_own_offset():
    output, target = output_and_target()
    offset = DecisionOffset(2, 3)
    AnySubsetLoss(nnunets_loss(), offset)(output, target).backward()
    assert offset.bias.grad.abs().min() > 0
    assert offset.weight.grad[1].abs().min() > 0
    assert not offset.weight.grad[0].any()  # no sample lacks modality 0


def test_validation_is_nnunets_loss():
    output, target = output_and_target()
    loss = AnySubsetLoss(nnunets_loss(), DecisionOffset(2, 3))
    assert torch.equal(loss(output.logits, target), nnunets_loss()(output.logits, target))


@pytest.mark.parametrize("regions", [True, False])
def test_voxels_without_annotation_do_not_count(regions):
    torch.manual_seed(0)
    available = torch.ones(1, 2, dtype=torch.bool)
    unannotated = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    unannotated[..., 4:] = True
    if regions:
        labels = torch.randint(0, 2, (1, 3, 8, 8)).float()
        target = torch.cat((labels, unannotated), 1)
    else:
        target = torch.where(unannotated, 3, torch.randint(0, 3, (1, 1, 8, 8))).float()
    logits = torch.randn(1, 3, 8, 8)
    changed = torch.where(unannotated, torch.randn(1, 3, 8, 8), logits)
    offset = DecisionOffset(2, 3)

    def value(logits):
        loss = AnySubsetLoss(lambda *_: torch.zeros(()), offset, regions=regions, ignore_label=3)
        return loss(SubsetLogits(logits, available), target).detach()

    assert torch.equal(value(logits), value(changed))
    assert 0 < float(value(logits)) < 1
