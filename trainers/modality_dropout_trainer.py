"""``-tr ModalityDropoutTrainer``: stock nnU-Net that sees random subsets in training, the rest of them zero."""

from dataclasses import asdict

from magms_nnunet.networks.availability import without_absent
from magms_nnunet.training.subset_law import SubsetLaw
from magms_nnunet.training.trainer import ModalityTrainer


class ModalityDropoutTrainer(ModalityTrainer):
    """nnU-Net's network and loss; half of the training samples keep a random incomplete subset of their modalities.

    The network is the stock one: predict with ``--fill zero``, which is what it saw in training.

    Attributes:
        law: which modalities a sample keeps.
    """

    law = SubsetLaw()

    def described(self) -> dict:
        """The law."""
        return {"law": asdict(self.law)}

    def train_step(self, batch: dict) -> dict:
        """nnU-Net's step on the batch without what the random subsets lack."""
        kept = self.law.draw(self.available(batch))
        return super().train_step({**batch, "data": without_absent(batch["data"], kept)})
