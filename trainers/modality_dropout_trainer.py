"""``-tr ModalityDropoutTrainer``: stock nnU-Net that sees random subsets in training, the rest of them zero."""

from dataclasses import asdict

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from magms_nnunet.networks.availability import without_absent
from magms_nnunet.networks.input_channels import with_checked_channels
from magms_nnunet.training.subset_law import SubsetLaw
from magms_nnunet.training.trainer import ModalityTrainer


class ModalityDropoutTrainer(ModalityTrainer):
    """nnU-Net's network and loss; half of the training samples keep a random incomplete subset of their modalities.

    The network is the stock one: predict with ``--fill zero``, which is what it saw in training.

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
        """nnU-Net's network, which says what to do where a case lacks files."""
        network = ModalityTrainer.build_network_architecture(
            plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision
        )
        return with_checked_channels(network, num_input_channels)

    def network_input(self, batch: dict) -> dict:
        """The batch with zeros in place of what the random subsets lack."""
        kept = self.law.draw(self.available(batch))
        return {**batch, "data": without_absent(batch["data"], kept)}
