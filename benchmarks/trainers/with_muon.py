"""The rivals of ``accuracy.py`` with the optimizer and the schedule of AnySubsetTrainer, found by nnUNet_extTrainer."""

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from magms_nnunet.trainers import ModalityDropoutTrainer
from magms_nnunet.training.muon import muon_and_schedule


class MuonTrainer(nnUNetTrainer):
    """Stock nnU-Net but for the optimizer."""

    def configure_optimizers(self):
        """Muon, with a learning rate that falls along a cosine."""
        return muon_and_schedule(self)


class ModalityDropoutMuonTrainer(ModalityDropoutTrainer):
    """Modality dropout but for the optimizer."""

    def configure_optimizers(self):
        """Muon, with a learning rate that falls along a cosine."""
        return muon_and_schedule(self)
