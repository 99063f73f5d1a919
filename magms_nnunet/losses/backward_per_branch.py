"""A sum of losses that keeps the graph of one loss at a time."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def backward_per_branch(
    losses: Callable[[list[Tensor]], Iterator[Tensor]],
    inputs: list[Tensor],
    parameters: Sequence[Tensor],
    gradient_scale: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Sum losses with the gradients of the ordinary sum, and keep the activations of one loss at a time.

    Each loss is differentiated as soon as ``losses`` yields it, which frees its graph; the backward pass of the
    result passes the gradients to the inputs and the parameters. So the hooks of ``DistributedDataParallel``, which run
    when a parameter has its gradient, run once.

    Args:
        losses: yields tensors of one shape, given the detached inputs; none may depend on the graph of an earlier one.
        inputs: tensors that ``losses`` depends on.
        parameters: leaves that ``losses`` also depends on.
        gradient_scale: scalar by which gradients are multiplied until the backward pass divides by it: the factor of
            ``GradScaler``, without which float16 gradients would vanish.

    Returns:
        The sum, and the stacked losses without gradient.
    """
    if gradient_scale is None:
        gradient_scale = inputs[0].new_ones((), dtype=torch.float32)
    return _BackwardPerBranch.apply(losses, len(inputs), gradient_scale, *inputs, *parameters)


class _BackwardPerBranch(torch.autograd.Function):
    @staticmethod
    def forward(ctx, losses, num_inputs, scale, *tensors):
        leaves = [t.detach().requires_grad_() for t in tensors[:num_inputs]]
        wanted = [*leaves, *tensors[num_inputs:]]
        gradients: list[Tensor | None] = [None] * len(wanted)
        values = []
        with torch.enable_grad():
            for loss in losses(leaves):
                of_this = torch.autograd.grad(loss.sum(), wanted, scale, allow_unused=True)
                gradients = [_added(a, b) for a, b in zip(gradients, of_this, strict=True)]
                values.append(loss.detach())
                del loss, of_this  # otherwise it would stay in memory until the next one is computed
        ctx.gradients, ctx.scale = gradients, scale
        stacked = torch.stack(values)
        ctx.mark_non_differentiable(stacked)
        return stacked.sum(), stacked

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient, _):
        if ctx.gradients is None:
            raise RuntimeError("the gradients of this sum were used already: one backward pass per forward pass")
        gradients, ctx.gradients = ctx.gradients, None
        factor = gradient / ctx.scale
        scaled = []
        while gradients:  # one by one, so that they never exist twice
            g = gradients.pop(0)
            scaled.append(None if g is None else g * factor.to(g.dtype))
        return None, None, None, *scaled


def _added(total: Tensor | None, gradient: Tensor | None) -> Tensor | None:
    if total is None or gradient is None:
        return gradient if total is None else total
    return total + gradient  # not in place: autograd may have given one tensor as the gradient of two
