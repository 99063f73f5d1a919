"""``-tr HeMISTrainer``: segmentation from mean and variance of features (Havaei et al., arXiv 1607.05194)."""

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from magms_nnunet.networks.from_plans import build_multi_encoder_unet
from magms_nnunet.networks.hemis_unet import HeMISUNet
from magms_nnunet.training.trainer import ModalityTrainer


class HeMISTrainer(ModalityTrainer):
    """nnU-Net's trainer and loss with :class:`HeMISUNet`, which draws a random subset for every sample."""

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
