import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

from magms_nnunet.losses.any_subset import AnySubsetLoss
from magms_nnunet.losses.decision_memory import DecisionMemory
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


def test_the_loss_is_nnunets_and_the_samples_are_kept():
    output, target = output_and_target()
    expected = nnunets_loss()(output.logits, target)
    memory = DecisionMemory(DecisionOffset(2, 3))
    loss = AnySubsetLoss(nnunets_loss(), memory)
    assert torch.equal(loss(output, target), expected)
    assert len(memory) == 2


def test_validation_keeps_nothing():
    output, target = output_and_target()
    memory = DecisionMemory(DecisionOffset(2, 3))
    loss = AnySubsetLoss(nnunets_loss(), memory)
    assert torch.equal(loss(output.logits, target), nnunets_loss()(output.logits, target))
    assert len(memory) == 0
