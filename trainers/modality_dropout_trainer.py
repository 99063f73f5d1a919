"""``-tr ModalityDropoutTrainer``: stock nnU-Net that sees random subsets in training, the rest of them zero."""

from magms_nnunet.networks.modality_dropout import random_available, without_absent
from magms_nnunet.training.trainer import ModalityTrainer


class ModalityDropoutTrainer(ModalityTrainer):
    """nnU-Net's network and loss; each training sample keeps a random non-empty subset of its modalities.

    The network is the stock one: predict with ``--fill zero``, which is what it saw in training.
    """

    def train_step(self, batch: dict) -> dict:
        """nnU-Net's step on the batch without what the random subsets lack."""
        data = batch["data"]
        available = random_available(len(data), len(self.modalities))
        return super().train_step({**batch, "data": without_absent(data, available)})
