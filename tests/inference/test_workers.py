import os
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool

import pytest

from magms_nnunet.inference.workers import submit, workers


@pytest.mark.parametrize("processes", [0, 1])
def test_results_and_errors_come_back(processes):
    with workers(processes) as executor:
        assert submit(executor, max, 1, 2).result() == 2
        with pytest.raises(ZeroDivisionError):
            submit(executor, divmod, 1, 0).result()


def test_without_processes_calls_run_here():
    with workers(0) as executor:
        assert submit(executor, os.getpid).result() == os.getpid()


def test_a_dead_worker_fails_what_it_had_and_what_comes_after():
    with workers(1) as executor:
        for call in ((os._exit, 1), (max, 1, 2)):
            with pytest.raises(BrokenProcessPool):
                submit(executor, *call).result()


KILLED = """
import os, signal
from magms_nnunet.inference.workers import submit, workers

if __name__ == "__main__":
    with workers(1) as executor:
        print(submit(executor, os.getpid).result(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    (tmp_path / "killed.py").write_text(KILLED)
    # not a pipe: a worker that stays would keep it open, and the test would wait for it
    with open(tmp_path / "worker", "w") as file:
        assert subprocess.run([sys.executable, tmp_path / "killed.py"], stdout=file).returncode < 0
    worker = (tmp_path / "worker").read_text().strip()
    for _ in range(100):
        if not _runs(worker):
            return
        time.sleep(0.1)
    os.kill(int(worker), 9)
    pytest.fail("the worker still waits, 10 s after its parent was killed")


def _runs(process: str) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
