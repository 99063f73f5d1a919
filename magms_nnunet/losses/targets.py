"""nnU-Net's targets."""

from torch import Tensor

Target = Tensor | list[Tensor]
"""``(B, 1, *spatial)`` labels, or ``(B, regions [+ 1 for ignore], *spatial)``; with deep supervision a list."""


def full_resolution(scales: Tensor | list[Tensor]) -> Tensor:
    """Return the logits or targets of full resolution from those of every scale of deep supervision."""
    return scales if isinstance(scales, Tensor) else scales[0]


def counted_voxels(target: Tensor, ignore_label: int | None, regions: bool) -> Tensor | None:
    """Return the annotated voxels of a target: bool ``(B, 1, *spatial)``; None: all.

    Args:
        target: of one scale.
        ignore_label: value of voxels without annotation, or None.
        regions: whether the target has a channel per region, and one more that marks an ignore label.
    """
    if ignore_label is None:
        return None
    return ~target[:, -1:].bool() if regions else target != ignore_label
