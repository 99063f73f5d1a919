"""A trainer that leaves modalities of the training samples out at random."""

from collections.abc import Callable
from dataclasses import asdict
from typing import ClassVar

from torch import Tensor

from magms_nnunet.networks.availability import mark_absent
from magms_nnunet.training.subset_law import SubsetLaw
from magms_nnunet.training.trainer import ModalityTrainer


class SubsetTrainer(ModalityTrainer):
    """nnU-Net's trainer whose samples keep the modalities that a law draws for them.

    Derive from it and set ``law`` to change which subsets are trained.

    Attributes:
        law: draws the modalities that a sample keeps.
        leave_out: replaces the other modalities of a batch; by default with marks that the network reads.
    """

    law = SubsetLaw()
    leave_out: ClassVar[Callable[[Tensor, Tensor], Tensor]] = staticmethod(mark_absent)

    def describe(self) -> dict:
        """Return the law."""
        return {"law": asdict(self.law)}

    def network_input(self, batch: dict) -> dict:
        """Return the batch without the modalities that the random subsets lack."""
        kept = self.law.draw(self.available(batch))
        return {**batch, "data": self.leave_out(batch["data"], kept)}
