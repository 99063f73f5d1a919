"""``-tr AnySubsetTrainer``: the trainer to choose where modalities may be missing."""

from torch import nn

from magms_nnunet.losses.any_subset import AnySubsetLoss
from magms_nnunet.networks.from_plans import build_any_subset_unet
from magms_nnunet.training.muon import muon_and_schedule
from magms_nnunet.training.subset_trainer import SubsetTrainer


class AnySubsetTrainer(SubsetTrainer):
    """One U-Net that is trained on complete samples and random subsets, with a decision level for each subset.

    Derive from it and set ``law`` to change which subsets are trained; everything else is changed as in nnU-Net.
    """

    build = staticmethod(build_any_subset_unet)

    def configure_optimizers(self):
        """Return Muon, with a learning rate that falls along a cosine."""
        return muon_and_schedule(self)

    def _build_loss(self) -> nn.Module:
        return AnySubsetLoss(
            super()._build_loss(),
            self.plain_network.decision_offset,
            regions=self.label_manager.has_regions,
            ignore_label=self.label_manager.ignore_label,
        )
