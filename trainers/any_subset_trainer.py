"""``-tr AnySubsetTrainer``: the trainer to choose where modalities may be missing."""

from dataclasses import asdict

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from magms_nnunet.losses.any_subset import AnySubsetLoss
from magms_nnunet.networks.availability import mark_absent
from magms_nnunet.networks.from_plans import build_any_subset_unet
from magms_nnunet.training.muon import muon_and_schedule
from magms_nnunet.training.subset_law import SubsetLaw
from magms_nnunet.training.trainer import ModalityTrainer


class AnySubsetTrainer(ModalityTrainer):
    """One U-Net that sees complete samples and random subsets in training, with a decision level for each subset.

    Derive from it and set ``law`` to change which subsets are trained; everything else is changed as in nnU-Net.

    Attributes:
        law: which modalities a sample keeps.
    """

    law = SubsetLaw()

    def describe(self) -> dict:
        """The law."""
        return {"law": asdict(self.law)}

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """The network for these plans; called by nnU-Net in training and in prediction."""
        return build_any_subset_unet(
            configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision
        )

    def configure_optimizers(self):
        """Muon, with a learning rate that falls along a cosine."""
        return muon_and_schedule(self)

    def _build_loss(self) -> nn.Module:
        return AnySubsetLoss(
            super()._build_loss(),
            self.plain_network.decision_offset,
            regions=self.label_manager.has_regions,
            ignore_label=self.label_manager.ignore_label,
        )

    def network_input(self, batch: dict) -> dict:
        """The batch with marks in place of what the random subsets lack."""
        kept = self.law.draw(self.available(batch))
        return {**batch, "data": mark_absent(batch["data"], kept)}
