"""Reads and checks the part of a checkpoint that prediction needs."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from magms_nnunet.errors import InputError, shorten
from magms_nnunet.model.checkpoints import read_checkpoint


def read_for_prediction(path: Path, trust: bool) -> dict:
    """Read the part of a checkpoint that prediction needs.

    Args:
        path: of the checkpoint.
        trust: whether to unpickle any content, code included.

    Raises:
        InputError: the file is no checkpoint, or is damaged.
    """
    content: dict = _OPTIONAL | read_checkpoint(path, trust)
    missing = set(_WANTED) - set(content)
    if missing:
        raise InputError(f"{path} is not a checkpoint of nnU-Net: it lacks {', '.join(sorted(missing))}")
    for key, is_right in _WANTED.items():
        if not is_right(content[key]):
            raise InputError(f"{path} is not a checkpoint of nnU-Net: {key} is {shorten(content[key])}")
    for name, tensor in content["network_weights"].items():
        if not _is_whole(tensor):
            raise InputError(f"{path} is damaged: it does not hold all numbers of {shorten(name)}; copy it again")
    # The optimiser's state is not read; the weights are, because a training may write to the file.
    weights = {name: tensor.clone() for name, tensor in content["network_weights"].items()}
    return {**{key: content[key] for key in (*_WANTED, *_OPTIONAL)}, "network_weights": weights}


def epoch_seconds_of(contents: Sequence[dict]) -> tuple[float, ...]:
    """Return the seconds of all epochs from nnU-Net's log in the checkpoints; empty where a log is missing."""
    seconds: list[float] = []
    for content in contents:
        log: dict = content["logging"] if isinstance(content["logging"], dict) else {}
        starts, ends = (log.get(f"epoch_{moment}_timestamps", ()) for moment in ("start", "end"))
        try:
            of_fold = [float(end) - float(start) for start, end in zip(starts, ends, strict=False)]
        except (TypeError, ValueError, OverflowError):
            return ()
        if not of_fold or not all(math.isfinite(value) and value >= 0 for value in of_fold):
            return ()
        seconds += of_fold
    return tuple(seconds)


def _are_weights(value) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and isinstance(weight, torch.Tensor) for name, weight in value.items()
    )


def _is_whole(tensor: torch.Tensor) -> bool:
    """Return whether the storage of a tensor has all of its numbers: a view may repeat a single one."""
    plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_nested
    return plain and tensor.nbytes <= tensor.untyped_storage().nbytes()


def _are_axes(value) -> bool:
    return value is None or (isinstance(value, tuple | list) and all(map(_is_axis, value)))


def _is_axis(value) -> bool:
    return type(value) is int and 0 <= value <= 2


_OPTIONAL = {
    "inference_allowed_mirroring_axes": None,
    "logging": None,
}  # nnU-Net's predictor accepts checkpoints without them
_WANTED = {
    "network_weights": _are_weights,
    "init_args": lambda value: isinstance(value, dict) and isinstance(value.get("configuration"), str),
    "trainer_name": lambda value: isinstance(value, str) and value.isidentifier(),
    "inference_allowed_mirroring_axes": _are_axes,
}
