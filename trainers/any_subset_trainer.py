"""``-tr AnySubsetTrainer``: the trainer to choose where modalities may be missing."""

from torch import nn

from magms_nnunet.losses.any_subset import AnySubsetLoss
from magms_nnunet.losses.decision_memory import DecisionMemory
from magms_nnunet.networks.from_plans import build_any_subset_unet
from magms_nnunet.training.muon import muon_and_schedule
from magms_nnunet.training.subset_trainer import SubsetTrainer


class AnySubsetTrainer(SubsetTrainer):
    """One U-Net that is trained on complete samples and random subsets, with a decision level for each sample.

    Derive from it and set ``law`` to change which subsets are trained; everything else is changed as in nnU-Net.
    """

    build = staticmethod(build_any_subset_unet)

    def configure_optimizers(self):
        """Return Muon, with a learning rate that falls along a cosine."""
        return muon_and_schedule(self)

    def _build_loss(self) -> nn.Module:
        offset, labels = self.plain_network.decision_offset, self.label_manager
        offset.regions.fill_(labels.has_regions)
        memory = DecisionMemory(
            offset,
            regions=labels.has_regions,
            ignore_label=labels.ignore_label,
            batch_dice=self.configuration_manager.batch_dice,
        )
        return AnySubsetLoss(super()._build_loss(), memory)

    def on_train_epoch_end(self, train_outputs: list[dict]):
        """Also complete the estimates of modalities, and fit the decision offset to the samples of the last steps."""
        super().on_train_epoch_end(train_outputs)
        self.plain_network.estimate.complete()
        self.loss.memory.fit()
