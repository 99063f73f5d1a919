"""What all tests share: one thread per process, the same seed, and where tests run if there are two processes."""

import multiprocessing.process
import os
import sys
from multiprocessing.pool import ThreadPool

os.environ.setdefault("nnUNet_def_n_proc", "1")  # nnU-Net reads it when it is imported
os.environ.setdefault("nnUNet_n_proc_DA", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # on arrays this small, threads wait for each other

import pytest
import torch
from nnunetv2.utilities import utils

CHAIN = "chain"  # the fixture that takes longest


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _folders_are_listed_here():
    """And not by twelve copies of this process, as nnU-Net does each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "Pool", ThreadPool, raising=False)
        yield


def pytest_configure(config):
    """Where the tests that start processes are deselected, one that starts a process nevertheless fails."""
    if "not process" in config.option.markexpr:
        sys.addaudithook(_refuse_processes)
        multiprocessing.process.BaseProcess.start = lambda *_: _refuse_processes("os.fork")


def _refuse_processes(event, *_):
    if event in ("subprocess.Popen", "os.fork", "os.system"):
        raise RuntimeError("a test of make test-fast starts a process: mark it with pytest.mark.process")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """With two processes, all tests of the trained model run in one of them, and those of a file in the same one."""
    if not getattr(config.option, "loadgroup", False):
        return
    of_chain = {item.path for item in items if CHAIN in item.fixturenames}
    items.sort(key=lambda item: item.path not in of_chain)  # what takes longest begins first
    for item in items:
        item.add_marker(pytest.mark.xdist_group(CHAIN if item.path in of_chain else item.location[0]))
