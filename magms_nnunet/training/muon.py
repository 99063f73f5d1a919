"""Muon: momentum whose update of each convolution is made orthogonal, and Adam for all other parameters."""

from collections.abc import Iterable

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from magms_nnunet.training.cosine_schedule import CosineSchedule


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) with AdamW for other parameters.

    The weight of a convolution is treated as a matrix of output channels times everything else. Its update is the
    momentum with all singular values brought near 1 by a Newton-Schulz iteration, so that no direction of the
    gradient is neglected. Multiplied by 0.2 sqrt(the larger side) it has the size of an update of AdamW, and both
    take one learning rate and one decay (Liu et al. 2025, arXiv 2502.16982).

    Args:
        network: its convolutions, except output layers, are updated by Muon, all others by Adam without decay.
        lr: learning rate.
        weight_decay: decoupled, of the convolutions.
        momentum: of Muon, Nesterov's.
        betas: of Adam.
    """

    def __init__(
        self,
        network: nn.Module,
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.99),
    ):
        matrices = list(hidden_convolutions(network))
        of_muon = set(map(id, matrices))
        others = [p for p in network.parameters() if id(p) not in of_muon]
        groups = [
            {"params": matrices, "orthogonal": True, "weight_decay": weight_decay},
            {"params": others, "orthogonal": False, "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
        super().__init__(groups, {"lr": lr, "momentum": momentum, "betas": betas})

    @torch.no_grad()
    def step(self, closure=None) -> None:  # ty: ignore[incompatible-method-override]
        """Update every parameter that has a gradient; a closure, which nnU-Net does not use, is refused."""
        if closure is not None:
            raise ValueError("Muon takes no closure")
        for group in self.param_groups:
            update = self._orthogonal_update if group["orthogonal"] else self._adam_update
            for p in group["params"]:
                if p.grad is not None:
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(update(p, p.grad, group), alpha=-group["lr"])

    def _orthogonal_update(self, p: Tensor, gradient: Tensor, group: dict) -> Tensor:
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        momentum = state["momentum"].lerp_(gradient, 1 - group["momentum"])
        matrix = gradient.lerp(momentum, group["momentum"]).flatten(1)
        return orthogonalised(matrix).view_as(p) * (0.2 * max(matrix.shape) ** 0.5)

    def _adam_update(self, p: Tensor, gradient: Tensor, group: dict) -> Tensor:
        state = self.state[p]
        if not state:
            state |= {"steps": 0, "mean": torch.zeros_like(p), "square": torch.zeros_like(p)}
        state["steps"] += 1
        first, second = group["betas"]
        mean = state["mean"].lerp_(gradient, 1 - first) / (1 - first ** state["steps"])
        square = state["square"].lerp_(gradient.square(), 1 - second) / (1 - second ** state["steps"])
        return mean / (square.sqrt() + 1e-8)


def orthogonalised(matrix: Tensor, iterations: int = 5) -> Tensor:
    """Move the singular values of a matrix between about 0.7 and 1.2, by Jordan's quintic Newton-Schulz iteration.

    Args:
        matrix: ``(rows, columns)``. A matrix of zeros is unchanged.
        iterations: of the polynomial.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    X = (matrix.mT if tall else matrix).float()
    X = X / (X.norm() + 1e-7)
    for _ in range(iterations):
        gram = X @ X.mT
        X = 3.4445 * X + (-4.7750 * gram + 2.0315 * gram @ gram) @ X
    return (X.mT if tall else X).to(matrix.dtype)


def hidden_convolutions(network: nn.Module) -> Iterable[Tensor]:
    """Return the weights of all convolutions except those that give the logits (``seg_layers`` of the decoders)."""
    for name, module in network.named_modules():
        if isinstance(module, _ConvNd) and "seg_layers" not in name:
            yield module.weight


def muon_and_schedule(trainer: nnUNetTrainer, weight_decay: float = 1e-2) -> tuple[Muon, CosineSchedule]:
    """Return the optimizer and the schedule for ``configure_optimizers`` of a trainer."""
    optimizer = Muon(trainer.network, trainer.initial_lr, weight_decay)
    return optimizer, CosineSchedule(optimizer, trainer.initial_lr, trainer.num_epochs)
