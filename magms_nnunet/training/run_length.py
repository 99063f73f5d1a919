"""Shorter runs by environment variable, since nnU-Net's own ``_5epochs`` classes do not compose with ours.

``MAGMS_NUM_EPOCHS`` and ``MAGMS_ITERATIONS_PER_EPOCH`` replace nnU-Net's 1000 and 250.
"""

import os
from pathlib import Path

from magms_nnunet.errors import InputError, shorten

EPOCHS_VARIABLE = "MAGMS_NUM_EPOCHS"
ITERATIONS_VARIABLE = "MAGMS_ITERATIONS_PER_EPOCH"
_ATTRIBUTES = ("num_epochs", "save_every", "num_iterations_per_epoch", "num_val_iterations_per_epoch")


def run_length_from_environment() -> dict[str, int]:
    """Return the attributes of nnU-Net's trainer that the two variables change; empty where none is set.

    Validation and checkpoint intervals shrink with the run, in nnU-Net's own proportions (50 of 250 iterations; at
    least 20 checkpoints a run).

    Raises:
        ValueError: a variable is no whole number above 0.
    """
    changes = {}
    epochs = _positive_int(EPOCHS_VARIABLE)
    iterations = _positive_int(ITERATIONS_VARIABLE)
    if epochs is not None:
        changes |= {"num_epochs": epochs, "save_every": max(1, min(50, epochs // 20))}
    if iterations is not None:
        changes |= {"num_iterations_per_epoch": iterations, "num_val_iterations_per_epoch": max(1, iterations // 5)}
    return changes


def run_length_of_checkpoint(path: Path, init_args: dict) -> dict[str, int]:
    """Return these attributes from a checkpoint; they become attributes of the trainer.

    Args:
        path: of the checkpoint, for the message.
        init_args: of the checkpoint.

    Raises:
        InputError: other attributes are named, or a value is no whole number above 0.
    """
    magms = init_args.get("magms", {})
    kept = magms.get("run_length", {}) if isinstance(magms, dict) else magms
    if not isinstance(kept, dict) or not all(name in _ATTRIBUTES and _is_positive_int(n) for name, n in kept.items()):
        raise InputError(f"{path} is damaged: {shorten(kept)} is no length of a run")
    return kept


def _is_positive_int(value: object) -> bool:
    return type(value) is int and value > 0


def _positive_int(variable: str) -> int | None:
    text = os.environ.get(variable)
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{variable} must be a whole number above 0, got {text!r}")
    return int(text)
