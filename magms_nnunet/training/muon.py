"""Muon: momentum whose update of each matrix is made orthogonal, and Adam for all other parameters."""

from collections.abc import Iterable

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.optim.adamw import adamw

from magms_nnunet.training.cosine_schedule import CosineSchedule


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) with AdamW for other parameters.

    The weight of a convolution is a matrix of output channels times everything else. The update of a matrix is the
    momentum with all singular values brought near 1 by a Newton-Schulz iteration, so that no direction of the
    gradient is neglected. Multiplied by 0.2 sqrt(the larger side) it has the size of an update of AdamW, and both
    take one learning rate and one decay (Liu et al. 2025, arXiv 2502.16982).

    Args:
        network: its convolutions and linear layers, except those that give the logits, are updated by Muon, all other
            parameters by Adam without decay.
        lr: learning rate.
        weight_decay: decoupled, of the matrices.
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
        matrices = list(hidden_matrices(network))
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
            gradients = {p: p.grad for p in group["params"] if p.grad is not None}
            if group["orthogonal"]:
                self._orthogonal_step(gradients, group)
            else:
                self._adam_step(gradients, group)

    def _orthogonal_step(self, gradients: dict[Tensor, Tensor], group: dict) -> None:
        """Update matrices of the same shape together, because starting an operation takes a GPU time, too."""
        of_shape: dict[torch.Size, list[Tensor]] = {}
        for p in gradients:
            of_shape.setdefault(p.flatten(1).shape, []).append(p)
        for shape, together in of_shape.items():
            with_momentum = [self._with_momentum(p, gradients[p], group["momentum"]) for p in together]
            matrices = torch.stack([gradient.flatten(1) for gradient in with_momentum])
            size = 0.2 * max(shape) ** 0.5
            for p, update in zip(together, orthogonalised(matrices), strict=True):
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update.view_as(p), alpha=-group["lr"] * size)

    def _with_momentum(self, p: Tensor, gradient: Tensor, decay: float) -> Tensor:
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        return gradient.lerp(state["momentum"].lerp_(gradient, 1 - decay), decay)

    def _adam_step(self, gradients: dict[Tensor, Tensor], group: dict) -> None:
        for p in gradients:
            if not self.state[p]:
                self.state[p] |= {"step": torch.tensor(0.0), "mean": torch.zeros_like(p), "square": torch.zeros_like(p)}
        states = [self.state[p] for p in gradients]
        first, second = group["betas"]
        adamw(
            list(gradients),
            list(gradients.values()),
            [state["mean"] for state in states],
            [state["square"] for state in states],
            [],
            [state["step"] for state in states],
            amsgrad=False,
            beta1=first,
            beta2=second,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=1e-8,
            maximize=False,
        )


def orthogonalised(matrices: Tensor, iterations: int = 5) -> Tensor:
    """Move the singular values of matrices between about 0.7 and 1.2, by Jordan's quintic Newton-Schulz iteration.

    On a GPU it computes in bfloat16, as Jordan's own code does.

    Args:
        matrices: ``(..., rows, columns)``. A matrix of zeros is unchanged.
        iterations: of the polynomial.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    X = (matrices.mT if tall else matrices).float()
    X = X / (torch.linalg.matrix_norm(X, keepdim=True) + 1e-7)
    if X.is_cuda:
        X = X.bfloat16()
    for _ in range(iterations):
        gram = X @ X.mT
        X = 3.4445 * X + (-4.7750 * gram + 2.0315 * gram @ gram) @ X
    return (X.mT if tall else X).to(matrices.dtype)


def hidden_matrices(network: nn.Module) -> Iterable[Tensor]:
    """Return the weights of convolutions and linear layers but those that give logits (nnU-Net's ``seg_layers``)."""
    for name, module in network.named_modules():
        if isinstance(module, _ConvNd | nn.Linear) and "seg_layers" not in name:
            yield module.weight


def muon_and_schedule(trainer: nnUNetTrainer, weight_decay: float = 1e-2) -> tuple[Muon, CosineSchedule]:
    """Return the optimizer and the schedule for ``configure_optimizers`` of a trainer."""
    optimizer = Muon(trainer.network, trainer.initial_lr, weight_decay)
    return optimizer, CosineSchedule(optimizer, trainer.initial_lr, trainer.num_epochs)
