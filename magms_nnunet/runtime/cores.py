"""How many cores this process may use: on a cluster or in a container seldom all that the machine has."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA

_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds of computing in each so many, or "max"
_AUGMENTING = "nnUNet_n_proc_DA"


def available_cores() -> int:
    """Cores that the scheduler gives to this process, and no more than a container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _QUOTA.read_text().split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # none, or "max"
        return cores


def _wanted_threads() -> int:
    limit = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return min(available_cores(), int(limit)) if limit.isdecimal() and int(limit) else available_cores()


def use_available_cores() -> None:
    """Have torch compute with as many threads, or with fewer where OMP_NUM_THREADS says so."""
    torch.set_num_threads(_wanted_threads())


def limit_threads() -> None:
    """The same where torch computes with more, as nnUNetv2_train has it do on a CPU."""
    torch.set_num_threads(min(torch.get_num_threads(), _wanted_threads()))


@contextmanager
def limit_augmenting_processes() -> Iterator[None]:
    """Inside, nnU-Net augments with as many processes at the most, unless the user has set their number."""
    if _AUGMENTING in os.environ:
        yield
        return
    os.environ[_AUGMENTING] = str(min(get_allowed_n_proc_DA(), available_cores()))
    try:
        yield
    finally:
        del os.environ[_AUGMENTING]
