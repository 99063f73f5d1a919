"""Processes that preprocess and export beside the network; none at all where a single case would only wait for them."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process

from magms_nnunet.errors import CaseError, InputError


@contextmanager
def workers(processes: int) -> Iterator[Executor]:
    """A pool of spawned processes; with 0 calls run in this one. After an exception nothing that waits is started."""
    if not processes:
        yield _InThisProcess()
        return
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_follow_the_parent)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _follow_the_parent() -> None:
    """Leave interrupts to it, and end with it: a worker whose parent was killed would wait for work forever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_with_it() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=end_with_it, daemon=True).start()


def submit(executor: Executor, function: Callable, *args) -> Future:
    """``executor.submit``, but a pool that has lost a worker gives a future that fails."""
    try:
        return executor.submit(function, *args)
    except BrokenProcessPool as error:
        future: Future = Future()
        future.set_exception(error)
        return future


def failure_message(error: Exception) -> str:
    """One line on why a case failed."""
    if isinstance(error, CaseError):
        return error.message
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, BrokenProcessPool):
        return "a worker process died, probably out of memory: use smaller -npp and -nps"
    return f"{type(error).__name__}: {error}".splitlines()[0]


class _InThisProcess(Executor):
    """Runs a call when it is submitted."""

    def submit(self, fn, /, *args, **kwargs) -> Future:
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future
