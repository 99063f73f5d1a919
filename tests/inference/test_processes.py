import os
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError

import pytest
import torch

from magms_nnunet.inference.processes import ProcessDiedError, workers


@pytest.mark.parametrize("processes", [0, 1])
def test_results_and_errors_come_back(processes):
    with workers(processes) as executor:
        assert executor.submit(max, 1, 2).result() == 2
        with pytest.raises(ZeroDivisionError):
            executor.submit(divmod, 1, 0).result()


def test_without_processes_calls_run_here():
    with workers(0) as executor:
        assert executor.submit(os.getpid).result() == os.getpid()


def test_as_many_calls_at_a_time_as_there_are_processes():
    with workers(2) as executor:
        futures = [executor.submit(time.sleep, 1) for _ in range(2)]
        pids = {future.result() for future in [executor.submit(os.getpid) for _ in range(4)]}
        assert len(pids) <= 2
        assert os.getpid() not in pids
        assert all(future.result() is None for future in futures)


def test_a_process_computes_with_one_thread():
    with workers(1) as executor:
        assert executor.submit(torch.get_num_threads).result() == 1


class TwoArgumentsError(Exception):
    """Which pickle would make again with one."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def raise_two_arguments():
    raise TwoArgumentsError("this", "that")


def test_an_error_that_does_not_survive_pickling_is_said():
    with workers(1) as executor, pytest.raises(RuntimeError, match="TwoArgumentsError: this and that") as error:
        executor.submit(raise_two_arguments).result()
    assert "in raise_two_arguments" in str(error.value.__cause__)


def test_what_cannot_be_sent_is_said():
    with workers(1) as executor:
        with pytest.raises((AttributeError, TypeError)):
            executor.submit(lambda: 1).result()
        with pytest.raises(RuntimeError, match="lock cannot be sent back"):
            executor.submit(threading.Lock).result()
        assert executor.submit(max, 1, 2).result() == 2


def test_a_dead_worker_fails_its_own_call_only():
    with workers(1) as executor:
        died, after = executor.submit(os._exit, 3), executor.submit(max, 1, 2)
        with pytest.raises(ProcessDiedError, match=r"ended with exit code 3, .* use smaller -npp and -nps"):
            died.result()
        assert after.result() == 2


def test_a_worker_that_died_with_nothing_to_do_fails_no_call():
    with workers(1) as executor:
        pid = executor.submit(os.getpid).result()
        os.kill(pid, 9)
        while executor._idle[0].is_alive():
            time.sleep(0.01)
        assert executor.submit(os.getpid).result() != pid


def test_after_an_exception_nothing_is_waited_for():
    futures = []

    def interrupted():
        with workers(1) as executor:
            executor.submit(max, 1, 2).result()
            futures.extend(executor.submit(time.sleep, 60) for _ in range(2))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    for future in futures:
        with pytest.raises(CancelledError):
            future.result()


KILLED = """
import os, signal
from magms_nnunet.inference.processes import workers

if __name__ == "__main__":
    with workers(1) as executor:
        print(executor.submit(os.getpid).result(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    (tmp_path / "killed.py").write_text(KILLED)
    # not a pipe: a worker that stays would keep it open, and the test would wait for it
    with open(tmp_path / "worker", "w") as file:
        assert subprocess.run([sys.executable, tmp_path / "killed.py"], stdout=file).returncode < 0
    worker = (tmp_path / "worker").read_text().strip()
    for _ in range(600):
        if not _runs(worker):
            return
        time.sleep(0.1)
    os.kill(int(worker), 9)
    pytest.fail("the worker still waits, a minute after its parent was killed")


def _runs(process: str) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
