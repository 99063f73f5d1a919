"""nnU-Net's DistributedDataParallel on several machines, or without a GPU.

nnU-Net takes a process's rank among all machines for the number of its GPU, and assumes that there is one.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn
from torch.nn.parallel import DistributedDataParallel


class _OnItsOwnDevice(DistributedDataParallel):
    """Takes nnU-Net's arguments, and uses the device of the network."""

    def __init__(self, network: nn.Module, device_ids: list[int]):
        device = next(network.parameters()).device
        super().__init__(network, device_ids=None if device.type == "cpu" else [device])


@contextmanager
def own_devices() -> Iterator[None]:
    """Let a trainer, within the block, wrap its network for the device that the network is on."""
    module: Any = sys.modules[nnUNetTrainer.__module__]
    before = module.DDP
    module.DDP = _OnItsOwnDevice
    try:
        yield
    finally:
        module.DDP = before


def place(trainer: nnUNetTrainer, device: torch.device) -> None:
    """Set the device of a new trainer to that of this process."""
    trainer.device = device
    if device.type == "cpu":
        trainer.grad_scaler = None
