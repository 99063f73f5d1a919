"""Checkpoints are read as data: whatever a file says, nothing in it is executed, unless its reader trusts it."""

import os
import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from magms_nnunet.errors import InputError

TRUST_FLAG = "--trust-checkpoint"
TRUST_VARIABLE = "MAGMS_TRUST_CHECKPOINT"  # for nnU-Net's commands, which cannot be given a flag more

# What nnU-Net's checkpoints hold besides tensors and plain Python: the log's numbers.
_SAFE_GLOBALS = [
    np.dtype,
    type(np.dtype(np.float32)),
    type(np.dtype(np.float64)),
    # numpy 2 moved it, and a checkpoint may come from a machine with the other one
    (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),
    (np.float64(0).__reduce__()[0], "numpy._core.multiarray.scalar"),
]
# torch's own switches. The first makes torch.load(weights_only=False) read data only; with the second set it refuses.
_SWITCHES = {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "0"}


def read_checkpoint(path: Path, trust: bool = False) -> dict:
    """Content of a checkpoint, tensors on the CPU.

    Args:
        path: of the file.
        trust: unpickle whatever it holds, code included.

    Raises:
        InputError: damaged, something else than a dictionary, or it holds more than data.
    """
    try:
        with as_data(path, trust, f"{TRUST_FLAG} if you trust who made it"):
            content = torch.load(path, map_location="cpu", weights_only=not trust, mmap=True)
    except InputError:
        raise
    except Exception as error:  # what unpickling random bytes raises is anybody's guess
        raise InputError(f"{path} is damaged or not a checkpoint of nnU-Net") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a checkpoint of nnU-Net: it holds a {type(content).__name__}")
    return content


@contextmanager
def as_data(path: str | Path, trust: bool, remedy: str) -> Iterator[None]:
    """Inside, ``torch.load`` reads data only, also where nnU-Net tells it to unpickle anything.

    Args:
        path: of the file that is read, for the message.
        trust: change nothing.
        remedy: how the user can set ``trust``.

    Raises:
        InputError: the file holds something else than data.
    """
    if trust:
        yield
        return
    before = {name: os.environ.get(name) for name in _SWITCHES}
    os.environ.update(_SWITCHES)
    try:
        with torch.serialization.safe_globals(_SAFE_GLOBALS):
            yield
    except (pickle.UnpicklingError, EOFError) as error:
        foreign = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"; it holds {foreign[1]}, and only data is loaded from checkpoints ({remedy})" if foreign else ""
        raise InputError(f"{path} is damaged or not a checkpoint of nnU-Net{reason}") from error
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def trusted_by_environment() -> bool:
    """Whether the user has set MAGMS_TRUST_CHECKPOINT=1 for a training."""
    return os.environ.get(TRUST_VARIABLE) == "1"
