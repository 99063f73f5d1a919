"""``-tr ModalityDropoutTrainer``: stock nnU-Net that sees random subsets in training, the rest of them zero."""

from magms_nnunet.networks.availability import without_absent
from magms_nnunet.training.subset_trainer import SubsetTrainer


class ModalityDropoutTrainer(SubsetTrainer):
    """nnU-Net's network and loss; half of the training samples keep a random incomplete subset of their modalities.

    The network is the stock one: predict with ``--fill zero``, which is what it saw in training.
    """

    leave_out = staticmethod(without_absent)
