"""Instance normalisation that on a CPU takes half the time.

PyTorch computes it as batch normalisation with each sample and channel as a channel of its own. Group normalisation
with a group per channel is the same function; on a CPU its kernel is about twice as fast, and keeps channels last.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class _InstanceNorm:
    def forward(self, x: Tensor) -> Tensor:
        """Normalised ``x``, ``(B, C, *spatial)``."""
        if x.device.type != "cpu" or self.track_running_stats:
            return super().forward(x)
        self._check_input_dim(x)
        return F.group_norm(x, x.shape[1], self.weight, self.bias, self.eps)


class InstanceNorm2d(_InstanceNorm, nn.InstanceNorm2d):
    """``nn.InstanceNorm2d``, faster on a CPU."""


class InstanceNorm3d(_InstanceNorm, nn.InstanceNorm3d):
    """``nn.InstanceNorm3d``, faster on a CPU."""


def faster_norm(arch_kwargs: dict) -> dict:
    """Arguments of a network in nnU-Net's plans, with these classes in place of PyTorch's."""
    ours = {f"torch.nn.modules.instancenorm.{cls.__name__}": cls for cls in (InstanceNorm2d, InstanceNorm3d)}
    norm = ours.get(arch_kwargs.get("norm_op"))
    return arch_kwargs if norm is None else {**arch_kwargs, "norm_op": f"{norm.__module__}.{norm.__qualname__}"}
