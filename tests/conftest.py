"""What all tests share: one thread per process and the same seed."""

import multiprocessing.process
import os
import random
import sys
from importlib import import_module
from multiprocessing.pool import ThreadPool

os.environ.setdefault("nnUNet_def_n_proc", "1")  # nnU-Net reads it when it is imported
os.environ.setdefault("nnUNet_n_proc_DA", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # on arrays this small, threads wait for each other

import numpy as np
import pytest
import torch
from nnunetv2.utilities import utils


def _seed_all():
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(0)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Fixtures of a wide scope, such as trained models, are the same whichever test comes first."""
    _seed_all()


@pytest.fixture(autouse=True)
def _seed():
    """And tests are, whichever fixtures were made for them."""
    _seed_all()


@pytest.fixture(scope="session", autouse=True)
def _folders_are_listed_here():
    """And not by twelve copies of this process, as nnU-Net does each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "Pool", ThreadPool, raising=False)
        yield


def pytest_configure(config):
    """Where the tests that start processes are deselected, one that starts a process nevertheless fails."""
    if "not process" in config.option.markexpr:
        import_module("matplotlib.font_manager")  # starts a process where it has no cache of the fonts yet
        sys.addaudithook(_refuse_processes)
        multiprocessing.process.BaseProcess.start = lambda *_: _refuse_processes("os.fork")


def _refuse_processes(event, *_):
    if event in ("subprocess.Popen", "os.fork", "os.system"):
        raise RuntimeError("a test of make test-fast starts a process: mark it with pytest.mark.process")
