"""Where calls beside the network run: in processes, or in this one where a single case would only wait for them."""

from collections.abc import Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager

from magms_nnunet.inference.processes import Processes


@contextmanager
def workers(processes: int) -> Iterator[Executor]:
    """A pool of processes; with 0 calls run in this one. After an exception the processes are killed."""
    if not processes:
        yield _InThisProcess()
        return
    pool = Processes(processes)
    try:
        yield pool
        pool.shutdown()
    except BaseException:
        pool.kill()
        raise


class _InThisProcess(Executor):
    """Runs a call when it is submitted."""

    def submit(self, fn, /, *args, **kwargs) -> Future:
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future
