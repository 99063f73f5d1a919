"""Checks for numbers that are not finite: in the step in which they appear, and before a checkpoint is written."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from magms_nnunet.errors import InputError


def check_images(batch: dict, epoch: int) -> None:
    """Check that no image of a training batch is NaN, which networks would take for an absent modality.

    One voxel of each image is read, which costs next to nothing; an image that is NaN in part appears in the loss.

    Args:
        batch: nnU-Net's, with ``data`` ``(B, C, *spatial)`` and, from its data loader, the cases' names as ``keys``.
        epoch: for the message.

    Raises:
        InputError: an image is NaN; names the epoch and the cases.
    """
    if batch["data"].flatten(2)[:, :, 0].isnan().any():
        check_loss(np.array(np.nan), batch, epoch)


def check_loss(loss: np.ndarray, batch: dict, epoch: int, *, may_overflow: bool = False) -> None:
    """Check that a step's loss is a number.

    Args:
        loss: of the step.
        batch: nnU-Net's, with ``data`` ``(B, C, *spatial)`` and, from its data loader, the cases' names as ``keys``.
        epoch: for the message.
        may_overflow: whether the step has half precision, whose gradient scaler skips steps that overflow.

    Raises:
        InputError: the loss is NaN or infinite; names the epoch, and the cases whose voxels are the reason.
    """
    if np.isfinite(loss).all():
        return
    finite = batch["data"].flatten(1).isfinite().all(1).tolist()
    if not all(finite):
        names = batch.get("keys", [f"sample {position}" for position in range(len(finite))])
        cases = ", ".join(sorted({str(name) for name, is_finite in zip(names, finite, strict=True) if not is_finite}))
        raise InputError(
            f"epoch {epoch}: {cases}: the preprocessed images hold NaN or infinite voxels: repair the images, "
            "preprocess again and continue with --c; the last checkpoint is finite"
        )
    if not may_overflow:
        raise _diverged(epoch)


def check_epoch(losses: np.ndarray, epoch: int) -> None:
    """Check that at least one step of an epoch counted: half precision skips the steps that overflow.

    Raises:
        InputError: no loss of the epoch is finite.
    """
    if not np.isfinite(losses).any():
        raise _diverged(epoch)


def check_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Check that the weights of a new checkpoint are finite.

    Raises:
        InputError: one is NaN or infinite.
    """
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not tensor.sum().isfinite() and not tensor.isfinite().all():
            raise InputError(
                f"{path} is not written: {name} holds NaN or infinity; continue from the last checkpoint with --c"
            )


def _diverged(epoch: int) -> InputError:
    return InputError(
        f"epoch {epoch}: the loss is NaN or infinite although all voxels are finite: continue from the last checkpoint "
        "with --c, and where it happens again, train with a smaller initial_lr"
    )
