"""Checkpoints are read as data: whatever a file says, nothing in it is executed, unless its reader trusts it."""

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
TRUST_VARIABLE = "MAGMS_TRUST_CHECKPOINT"  # for nnU-Net's commands, which cannot be given a flag more

# torch's own switches. The first makes torch.load(weights_only=False) read data only; with the second set it refuses.
_SWITCHES = {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "0"}
_LOADING = RLock()
"""Held while they are set: they are the whole process's, and so is torch's list of safe globals."""
_NUMBERS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
_PLAIN_STATES = tuple((3, byte_order, None, None, None, -1, -1, 0) for byte_order in "<>|")  # no fields, no objects
_MOST_VALUES = 2_000_000  # a tensor counts as one; after 1000 epochs there are some ten thousand
_NO_NUMBER = "GLOBAL numpy.dtype is not of a plain number"


class _DType:
    """Stands in for ``numpy.dtype``, which a file may build such that bytes are followed as addresses.

    Raises:
        UnpicklingError: it is not of a plain number.
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
    """Stands in for numpy's function of this name."""
    if type(dtype) is not _DType or type(data) is not bytes or len(data) != int(dtype.code[-1]):
        raise pickle.UnpicklingError(_NO_NUMBER)
    return np.frombuffer(data, dtype.code)[0]


# What nnU-Net's checkpoints hold besides tensors and plain Python: the log's numbers. numpy 2 moved the function, and a
# checkpoint may come from a machine with either.
_SAFE_GLOBALS: list = [
    (_DType, "numpy.dtype"),
    (_scalar, "numpy.core.multiarray.scalar"),
    (_scalar, "numpy._core.multiarray.scalar"),
]


def read_checkpoint(path: Path, trust: bool = False, remedy: str = f"{TRUST_FLAG} if you trust who made it") -> dict:
    """Content of a checkpoint, tensors on the CPU.

    Args:
        path: of the file.
        trust: unpickle whatever it holds, code included.
        remedy: how the user can set ``trust``.

    Raises:
        InputError: damaged, something else than a dictionary, or it holds more than data.
    """
    try:
        with open(path, "rb", opener=open_regular), as_data(path, trust, remedy):  # a pipe would be waited for
            content = torch.load(path, map_location="cpu", weights_only=not trust, mmap=True)
    except InputError:
        raise
    except Exception as error:  # what unpickling random bytes raises is anybody's guess
        raise InputError(f"{path} is damaged or not a checkpoint of nnU-Net") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a checkpoint of nnU-Net: it holds a {type(content).__name__}")
    if not _is_bounded(content):
        raise InputError(f"{path} is damaged: written out it would be of more than {_MOST_VALUES} values")
    return content


def _is_bounded(content: dict) -> bool:
    """Lists within lists that share their items take little room in a file, and all memory once they are printed."""
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
    """Inside, ``torch.load`` reads data only, also where nnU-Net tells it to unpickle anything.

    One thread at a time is inside, and whoever trusts its file waits outside.

    Args:
        path: of the file that is read, for the message.
        trust: change nothing.
        remedy: how the user can set ``trust``.

    Raises:
        InputError: the file holds something else than data.
    """
    with _LOADING:
        if trust:
            yield
            return
        before = {name: os.environ.get(name) for name in _SWITCHES}
        os.environ.update(_SWITCHES)
        allowed = torch.serialization.get_safe_globals()  # by other packages, perhaps numpy's own dtype
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
    """Whether the user has set MAGMS_TRUST_CHECKPOINT=1 for a training."""
    return os.environ.get(TRUST_VARIABLE) == "1"
