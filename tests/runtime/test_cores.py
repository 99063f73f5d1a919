import os
import sys

import pytest
import torch

from magms_nnunet.runtime import cores


@pytest.fixture
def quota(tmp_path, monkeypatch):
    """quota(text): what the kernel says of this container."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 8, 9}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(cores, "_QUOTA", tmp_path / "cpu.max")
    return (tmp_path / "cpu.max").write_text


def test_what_the_scheduler_gives_counts_and_not_what_the_machine_has(quota):
    assert cores.available_cores() == 4


@pytest.mark.parametrize(
    ("text", "number"), [("max 100000\n", 4), ("200000 100000\n", 2), ("150000 100000\n", 2), ("10000 100000\n", 1)]
)
def test_a_containers_quota_counts(text, number, quota):
    quota(text)
    assert cores.available_cores() == number


def test_without_an_affinity_the_machine_counts(quota, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    assert cores.available_cores() == 64


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sets the affinity")
def test_of_this_process():
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert cores.available_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("limit", "threads"), [(None, 4), ("2", 2), ("64", 4), ("2,1", 2), ("", 4), ("0", 4), ("abc", 4)]
)
def test_threads_are_no_more_than_cores_or_than_wanted(limit, threads, quota, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if limit is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", limit)
    taken = []
    monkeypatch.setattr(torch, "set_num_threads", taken.append)
    cores.use_available_cores()
    assert taken == [threads]


@pytest.mark.parametrize(("before", "threads"), [(64, 4), (3, 3)])
def test_a_training_has_no_more_threads_than_cores(before, threads, quota, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    taken = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: before)
    monkeypatch.setattr(torch, "set_num_threads", taken.append)
    cores.limit_threads()
    assert taken == [threads]


@pytest.mark.parametrize(("wanted", "number"), [(None, "4"), ("9", "9"), ("0", "0")])
def test_processes_that_augment_are_no_more_than_cores_unless_the_user_says_so(wanted, number, quota, monkeypatch):
    monkeypatch.delenv("nnUNet_n_proc_DA", raising=False)
    if wanted is not None:
        monkeypatch.setenv("nnUNet_n_proc_DA", wanted)
    with cores.limit_augmenting_processes():
        assert os.environ[cores._AUGMENTING] == number
    assert os.environ.get(cores._AUGMENTING) == wanted
