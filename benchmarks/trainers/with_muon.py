"""The rivals of ``accuracy.py`` with the optimizer and the schedule of AnySubsetTrainer, found by nnUNet_extTrainer."""

import os
from dataclasses import dataclass

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from magms_nnunet.trainers import ModalityDropoutTrainer
from magms_nnunet.training.muon import muon_and_schedule
from magms_nnunet.training.subset_law import SubsetLaw


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


@dataclass(frozen=True)
class OneSubset(SubsetLaw):
    """Every sample keeps the channels that the variable DEDICATED_TO names, ``0+2``; without it all."""

    channels: str = os.environ.get("DEDICATED_TO", "")

    def draw(self, available):
        """Return the same for every sample."""
        kept = torch.zeros_like(available)
        kept[:, [int(channel) for channel in self.channels.split("+")] if self.channels else slice(None)] = True
        return kept & available


class DedicatedTrainer(ModalityDropoutMuonTrainer):
    """A model of one subset: the other channels are 0 in training, as in prediction with ``--fill zero``."""

    law = OneSubset()
