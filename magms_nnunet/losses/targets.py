"""What nnU-Net's targets look like."""

from torch import Tensor

Target = Tensor | list[Tensor]
"""``(B, 1, *spatial)`` labels, or ``(B, regions [+ 1 for ignore], *spatial)``; with deep supervision a list."""


def full_resolution(scales: Tensor | list[Tensor]) -> Tensor:
    """Of logits or targets of every scale of deep supervision those of the image's own resolution."""
    return scales if isinstance(scales, Tensor) else scales[0]


def counted_voxels(target: Tensor, ignore_label: int | None, regions: bool) -> Tensor | None:
    """Where a target is annotated: bool ``(B, 1, *spatial)``; None: everywhere.

    Args:
        target: of one scale.
        ignore_label: value of voxels without annotation, or None.
        regions: the target has a channel per region, and where there is an ignore label one more that marks it.
    """
    if ignore_label is None:
        return None
    return ~target[:, -1:].bool() if regions else target != ignore_label
