"""``-tr HeMISTrainer``: segmentation from mean and variance of features (Havaei et al., arXiv 1607.05194)."""

from dataclasses import asdict

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from magms_nnunet.networks.availability import mark_absent
from magms_nnunet.networks.from_plans import build_multi_encoder_unet
from magms_nnunet.networks.hemis_unet import HeMISUNet
from magms_nnunet.training.subset_law import SubsetLaw
from magms_nnunet.training.trainer import ModalityTrainer


class HeMISTrainer(ModalityTrainer):
    """nnU-Net's trainer and loss with :class:`HeMISUNet`; half of the samples keep a random incomplete subset.

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
        """HeMIS for these plans."""
        return build_multi_encoder_unet(
            configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision, HeMISUNet
        )

    def network_input(self, batch: dict) -> dict:
        """The batch with marks in place of what the random subsets lack."""
        kept = self.law.draw(self.available(batch))
        return {**batch, "data": mark_absent(batch["data"], kept)}
