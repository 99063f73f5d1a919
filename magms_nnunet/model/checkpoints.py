"""Reads checkpoints as data: no code in a file is executed, unless the user trusts the file."""

import os
import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock

import numpy as np
import torch

from magms_nnunet.errors import InputError
from magms_nnunet.storage.files import open_regular

TRUST_FLAG = "--trust-checkpoint"
TRUST_VARIABLE = "MAGMS_TRUST_CHECKPOINT"  # for nnU-Net's commands, which take no further flags

# Variables of torch. The first makes torch.load(weights_only=False) read data only; with the second it refuses.
_SWITCHES = {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "0"}
_LOADING = RLock()
"""Held while they are set: they affect the whole process, as does torch's list of safe globals."""
_NUMBERS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
_PLAIN_STATES = tuple((3, byte_order, None, None, None, -1, -1, 0) for byte_order in "<>|")  # no fields, no objects
_MOST_VALUES = 2_000_000  # a tensor counts as one; after 1000 epochs there are some ten thousand
_NO_NUMBER = "GLOBAL numpy.dtype is not of a plain number"


class _DType:
    """Replaces ``numpy.dtype``, with which a file may make bytes count as addresses.

    Raises:
        UnpicklingError: the type is none of a plain number.
    """

    def __init__(self, code: str, *_: bool):
        if code not in _NUMBERS:
            raise pickle.UnpicklingError(_NO_NUMBER)
        self.code = code

    def __setstate__(self, state: tuple):
        if state not in _PLAIN_STATES:
            raise pickle.UnpicklingError(_NO_NUMBER)
        self.code = state[1] + self.code


def _scalar(dtype: _DType, data: bytes) -> np.generic:
    """Replace numpy's function of this name."""
    if type(dtype) is not _DType or type(data) is not bytes or len(data) != int(dtype.code[-1]):
        raise pickle.UnpicklingError(_NO_NUMBER)
    return np.frombuffer(data, dtype.code)[0]


# Besides tensors and plain Python, nnU-Net's checkpoints hold the numbers of the log. numpy 2 moved the function, and a
# checkpoint may come from a machine with either version.
_SAFE_GLOBALS: list = [
    (_DType, "numpy.dtype"),
    (_scalar, "numpy.core.multiarray.scalar"),
    (_scalar, "numpy._core.multiarray.scalar"),
]


def read_checkpoint(path: Path, trust: bool = False, remedy: str = f"{TRUST_FLAG} if you trust who made it") -> dict:
    """Read a checkpoint, with its tensors on the CPU.

    Args:
        path: of the file.
        trust: whether to unpickle any content, code included.
        remedy: how the user can set ``trust``.

    Raises:
        InputError: the file is damaged, holds no dictionary, or holds more than data.
    """
    try:
        with (
            open(path, "rb", opener=open_regular),
            as_data(path, trust, remedy),
        ):  # not a pipe, which would wait for ever
            content = torch.load(path, map_location="cpu", weights_only=not trust, mmap=True)
    except InputError:
        raise
    except Exception as error:  # unpickling damaged bytes may raise anything
        raise InputError(f"{path} is damaged or not a checkpoint of nnU-Net") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a checkpoint of nnU-Net: it holds a {type(content).__name__}")
    if not _is_bounded(content):
        raise InputError(f"{path} is damaged: written out it would be of more than {_MOST_VALUES} values")
    return content


def _is_bounded(content: dict) -> bool:
    """Return whether the number of values is bounded: nested lists with shared items are small in a file only."""
    todo, count = [content], 0
    while todo and count <= _MOST_VALUES:
        value = todo.pop()
        count += 1
        if isinstance(value, dict):
            todo += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set):
            todo += value
    return count <= _MOST_VALUES


@contextmanager
def as_data(path: str | Path, trust: bool, remedy: str) -> Iterator[None]:
    """Make ``torch.load`` read data only, within the block, also where nnU-Net asks it to unpickle anything.

    One thread at a time is in the block; a thread that trusts its file waits for it.

    Args:
        path: of the file, for the message.
        trust: whether to change nothing.
        remedy: how the user can set ``trust``.

    Raises:
        InputError: the file holds more than data.
    """
    with _LOADING:
        if trust:
            yield
            return
        before = {name: os.environ.get(name) for name in _SWITCHES}
        os.environ.update(_SWITCHES)
        allowed = torch.serialization.get_safe_globals()  # set by other packages, perhaps numpy's own dtype
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(_SAFE_GLOBALS)
        try:
            yield
        except (pickle.UnpicklingError, EOFError) as error:
            foreign = re.search(r"GLOBAL (\S+)", str(error))
            reason = f"; it holds {foreign[1]}, and only data is loaded from checkpoints ({remedy})" if foreign else ""
            raise InputError(f"{path} is damaged or not a checkpoint of nnU-Net{reason}") from error
        finally:
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals(allowed)
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def trusted_by_environment() -> bool:
    """Return whether the user has set MAGMS_TRUST_CHECKPOINT=1 for a training."""
    return os.environ.get(TRUST_VARIABLE) == "1"
