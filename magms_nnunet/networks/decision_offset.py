"""The threshold between foreground and background, for every subset of the modalities and every patch."""

from math import log1p

import torch
from torch import Tensor, nn

THRESHOLDS = 25
"""Number of the thresholds of logits, from -6 to 6 in steps of a half."""
LARGEST = 6.0


class DecisionOffset(nn.Module):
    """Adds to the logits of each class a number that depends on the modalities there are and on the logits.

    Cross entropy makes a network uncertain where a subset shows a structure badly: enhancing tumour seen without T1c is
    seldom more than 30 % probable anywhere, and a decision at 50 % leaves it out although a segmentation at 10 % has
    the better Dice. Which threshold has the highest Dice also depends on the patch: it is half of the Dice that can be
    reached (Lipton et al. 2014, arXiv 1402.1892), so that it is lower for a structure of which the network is less
    certain. The volumes of a class at several thresholds show how certain it is:

        offset = two layers(modalities, log of the volume of each class at each threshold)

    The inputs of the layers are standardised, and limited to three standard deviations, because a new patient may lie
    outside of what was seen in training. Backpropagation does not train any of it.
    :class:`magms_nnunet.losses.decision_memory.DecisionMemory` does, and until then the offset is 0.

    Args:
        num_modalities: M.
        num_outputs: classes or regions.
        hidden: width of the first layer.

    Attributes:
        regions: bool tensor, whether the outputs are sigmoids and not a softmax; the trainer sets it.
        mean: of the features in training, ``(M + outputs * 25,)``.
        scale: their standard deviation, at least 0.1.
    """

    regions: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, num_modalities: int, num_outputs: int, hidden: int = 64):
        super().__init__()
        features = num_modalities + num_outputs * THRESHOLDS
        self.register_buffer("regions", torch.tensor(False))
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.hidden = nn.Linear(features, hidden)
        self.output = nn.Linear(hidden, num_outputs)
        self.requires_grad_(False)
        self.reset()

    def reset(self) -> None:
        """Forget what was learned: the offset is 0."""
        self.hidden.reset_parameters()
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, logits: Tensor, available: Tensor) -> Tensor:
        """Return the logits with their offsets, ``(B, outputs, *spatial)``.

        Args:
            logits: ``(B, outputs, *spatial)``.
            available: bool ``(B, M)``.
        """
        with torch.autocast(logits.device.type, enabled=False):
            offset = self.offset(self.features(volumes(self.margins(logits)), available, logits[0, 0].numel()))
        return logits + offset.view(*offset.shape, *[1] * (logits.ndim - 2)).to(logits.dtype)

    def offset(self, features: Tensor, *, dropout: float = 0.0) -> Tensor:
        """Return the offsets, between -6 and 6: ``(B, outputs)``.

        Args:
            features: ``(B, M + outputs * 25)``.
            dropout: share of the hidden units that are left out.
        """
        standard = ((features - self.mean) / self.scale).clamp(-3, 3)
        hidden = nn.functional.leaky_relu(self.hidden(standard))
        if dropout:
            hidden = nn.functional.dropout(hidden, dropout)
        return LARGEST * torch.tanh(self.output(hidden) / LARGEST)

    def features(self, volumes: Tensor, available: Tensor, voxels: int) -> Tensor:
        """Return what the offset depends on: ``(B, M + outputs * 25)``.

        Args:
            volumes: of :func:`volumes`.
            available: bool ``(B, M)``.
            voxels: of the image. The logarithms of volumes become -2 for no voxel and 2 for all of them.
        """
        certain = 4 * torch.log1p(volumes) / log1p(voxels) - 2
        return torch.cat((available.to(certain), certain.flatten(1)), 1).to(self.hidden.weight.dtype)

    def margins(self, logits: Tensor) -> Tensor:
        """Return by how much each output is above its decision, in float32: ``(B, outputs, *spatial)``.

        With regions these are the logits, otherwise the differences to the highest logit of another class.

        Args:
            logits: ``(B, outputs, *spatial)``.
        """
        logits = logits.float()
        if logits.device.type == "cpu" and not torch.compiler.is_compiling() and self.regions:
            return logits  # elsewhere the question would make the host wait for the device
        highest, winner = logits.max(1, keepdim=True)
        second = logits.scatter(1, winner, -torch.inf).amax(1, keepdim=True)
        of_others = highest.expand_as(logits).scatter(1, winner, second)
        return torch.where(self.regions, logits, logits - of_others)


@torch.no_grad()
def volumes(margins: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the number of voxels above each threshold, in ascending order of these: ``(B, outputs, 25)``.

    Args:
        margins: ``(B, outputs, *spatial)``.
        mask: bool ``(B, outputs, *spatial)`` or ``(B, 1, *spatial)``, the voxels that count; None: all.
    """
    step = 2 * LARGEST / (THRESHOLDS - 1)
    edge = LARGEST + step  # one bin more below the first threshold and one above the last
    if mask is not None:
        margins = margins.masked_fill(~mask, -torch.inf)
    inside = margins.clamp(step / 2 - edge, edge - step / 2)
    counts = [torch.histc(channel, THRESHOLDS + 1, -edge, edge) for channel in inside.flatten(0, 1)]
    above = torch.stack(counts).flip(1).cumsum(1).flip(1)[:, 1:]
    return above.view(*margins.shape[:2], THRESHOLDS)
