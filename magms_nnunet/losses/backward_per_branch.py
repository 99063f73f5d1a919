"""A sum of losses that holds the graph of one of them at a time."""

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
    """Sum of losses with the gradients of the ordinary sum, for the activations of only the largest of them.

    Each loss is differentiated as soon as ``losses`` yields it, which frees what its graph has saved; the backward pass
    of the result hands the gradients on. Parameters receive theirs there and then, so what runs after their
    gradients have been added up (the hooks of ``DistributedDataParallel``) runs once, as ever.

    Args:
        losses: given the inputs, detached, yields tensors of one shape; no later one may depend on an earlier one's
            graph.
        inputs: tensors that ``losses`` depends on.
        parameters: leaves that ``losses`` also depends on.
        gradient_scale: scalar by which gradients are multiplied until the backward pass divides by it: the factor of
            ``GradScaler``, without which float16 gradients would vanish on the way.

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
                del loss, of_this  # else it would live until the next one has been computed
        ctx.gradients, ctx.scale = gradients, scale
        stacked = torch.stack(values)
        ctx.mark_non_differentiable(stacked)
        return stacked.sum(), stacked

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient, _):
        if ctx.gradients is None:
            raise RuntimeError("the gradients of this sum were handed on already: one backward pass per forward pass")
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
