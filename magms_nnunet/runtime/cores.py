"""The number of cores that this process may use, on a cluster or in a container seldom all of the machine."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA

_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds of computing time, or "max", per period
_AUGMENTING = "nnUNet_n_proc_DA"


def available_cores() -> int:
    """Return the number of cores that the scheduler and the quota of a container allow this process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _QUOTA.read_text().split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no quota, or "max"
        return cores


def _wanted_threads() -> int:
    limit = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return min(available_cores(), int(limit)) if limit.isdecimal() and int(limit) else available_cores()


def use_available_cores() -> None:
    """Set the threads of torch to this number, or to OMP_NUM_THREADS where that is smaller."""
    torch.set_num_threads(_wanted_threads())


def limit_threads() -> None:
    """Limit the threads of torch to this number, which nnUNetv2_train exceeds on a CPU."""
    torch.set_num_threads(min(torch.get_num_threads(), _wanted_threads()))


@contextmanager
def limit_augmenting_processes() -> Iterator[None]:
    """Limit nnU-Net's augmenting processes to this number within the block, unless the user has set theirs."""
    if _AUGMENTING in os.environ:
        yield
        return
    os.environ[_AUGMENTING] = str(min(get_allowed_n_proc_DA(), available_cores()))
    try:
        yield
    finally:
        del os.environ[_AUGMENTING]
