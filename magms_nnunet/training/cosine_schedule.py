"""A learning rate that rises over the first epochs and then falls to zero along a cosine."""

from math import cos, pi

from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from torch.optim import Optimizer


class CosineSchedule(PolyLRScheduler):
    """One learning rate per epoch, that of the middle of the epoch; called like nnU-Net's own schedule.

    Args:
        optimizer: whose learning rate is set.
        initial_lr: highest value.
        max_steps: number of epochs.
        warm_up: share of them over which the learning rate rises.
    """

    def __init__(self, optimizer: Optimizer, initial_lr: float, max_steps: int, warm_up: float = 0.05):
        self.warm_up = warm_up
        super().__init__(optimizer, initial_lr, max_steps)

    def step(self, current_step: int | None = None) -> None:
        """Set the learning rate of an epoch; None: of the next one."""
        if current_step is None or current_step == -1:
            current_step = self.ctr
            self.ctr += 1
        done = (current_step + 0.5) / self.max_steps
        lr = self.initial_lr * min(1, done / self.warm_up) * (1 + cos(pi * done)) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]
