"""Forked processes do what follows the parent, whatever code they run."""

import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks, and looks into /proc")

# Two of them, as the first one's connection to the parent is inherited by the second.
PARENT = """
import os, signal, sys, time
from multiprocessing import get_context
from magms_nnunet.runtime.child_processes import bind_forks_to_parent

def compute():
    while True:
        sum(range(1000))

with bind_forks_to_parent() as forked:
    processes = [get_context("fork").Process(target=compute, daemon=True) for _ in range(2)]
    for process in processes:
        process.start()
time.sleep(0.5)
assert set(forked) == set(processes)
print(*(process.pid for process in processes), flush=True)
if len(sys.argv) > 1:
    os.killpg(0, int(sys.argv[1]))
    time.sleep(1)
    assert all(process.is_alive() for process in processes)
    print("alive", flush=True)
time.sleep(60)
"""


def runs(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def start(tmp_path, *arguments: str) -> subprocess.Popen:
    (tmp_path / "parent.py").write_text(PARENT)
    command = [sys.executable, str(tmp_path / "parent.py"), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def ended(processes: list[int], seconds: float = 60) -> bool:
    for _ in range(int(seconds * 10)):
        if not any(map(runs, processes)):
            return True
        time.sleep(0.1)
    for process in filter(runs, processes):
        os.kill(process, signal.SIGKILL)
    return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=str)
def test_forked_processes_end_with_a_parent_that_is_killed(number, tmp_path):
    with start(tmp_path) as parent:
        processes = [int(pid) for pid in parent.stdout.readline().split()]
        assert all(map(runs, processes))
        parent.send_signal(number)
        parent.wait()
        assert ended(processes)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_signals_to_all_processes_of_a_job_are_left_to_the_parent(number, tmp_path):
    """As Ctrl-C in a terminal and a cluster's SIGTERM are."""
    handler = f"import signal\nsignal.signal({int(number)}, lambda *_: None)\n"
    (tmp_path / "parent.py").write_text(handler + PARENT)
    command = [sys.executable, str(tmp_path / "parent.py"), str(int(number))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as parent:
        processes = [int(pid) for pid in parent.stdout.readline().split()]
        assert parent.stdout.readline() == "alive\n"
        parent.kill()
        assert ended(processes)
