"""``-tr ModalityDropoutTrainer``: stock nnU-Net that is trained on random subsets, with zeros for the others."""

from magms_nnunet.networks.availability import without_absent
from magms_nnunet.training.subset_trainer import SubsetTrainer


class ModalityDropoutTrainer(SubsetTrainer):
    """nnU-Net's network and loss; half of the training samples keep a random incomplete subset of their modalities.

    The network is the stock one: predict with ``--fill zero``, as it was trained.
    """

    leave_out = staticmethod(without_absent)
