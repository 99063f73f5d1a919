import os
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
