"""What a training took, read from the logs that nnU-Net leaves beside its checkpoints."""

import re
from collections.abc import Sequence
from pathlib import Path

from magms_nnunet.inference.model import Fold

_EPOCH_TIME = re.compile(r"Epoch time: ([\d.]+) s")


def training_cost(model: Path, folds: Sequence[Fold], modalities: int) -> dict | None:
    """Epochs, seconds and seconds per epoch of all folds together, epochs that were repeated after a crash included.

    Args:
        model: its folder.
        folds: whose logs to read.
        modalities: how many the model was trained on; passed through.

    Returns:
        None where there are no logs.
    """
    seconds = [
        float(time)
        for fold in folds
        for log in sorted((model / f"fold_{fold}").glob("training_log_*.txt"))
        for time in _EPOCH_TIME.findall(log.read_text(encoding="utf-8", errors="replace"))
    ]
    if not seconds:
        return None
    total = sum(seconds)
    return {
        "epochs": len(seconds),
        "seconds": total,
        "seconds_per_epoch": total / len(seconds),
        "modalities": modalities,
    }
