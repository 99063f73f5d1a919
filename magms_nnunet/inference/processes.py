"""Processes beside the network. Each runs one call at a time: where a process dies, only its call fails."""

import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection

from magms_nnunet.runtime.child_processes import bind_to_parent
from magms_nnunet.runtime.streams import lasting_streams


class ProcessDiedError(Exception):
    """A process ended during a call: by the system for lack of memory, by a user, or by a crash."""

    def __init__(self, exit_code: int | None):
        how = f"by {signal.Signals(-exit_code).name}" if exit_code and exit_code < 0 else f"with exit code {exit_code}"
        super().__init__(f"its process was ended {how}, perhaps for lack of memory: use smaller -npp and -nps")


class TracebackOfProcess(Exception):  # noqa: N818 it is the cause of an error
    """The traceback of another process, as text; it is the cause of the exception in this process."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class Processes(Executor):
    """A pool of spawned processes, which are started when they are needed and replaced when they die.

    Args:
        number: of calls at a time.
    """

    def __init__(self, number: int):
        self._threads = ThreadPoolExecutor(number)  # one waits for each process
        self._idle: list[_Process] = []
        self._all: list[_Process] = []
        self._killed = False

    def submit(self, fn: Callable, /, *args, **kwargs) -> Future:
        """Run a call; the exception of its future is :class:`ProcessDiedError` where the process died."""
        return self._threads.submit(self._call, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let calls finish, then end the processes."""
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
        for process in self._all:
            process.kill()  # it has no call, and nothing to tidy up

    def kill(self) -> None:
        """End the processes at once; waiting calls are not started."""
        self._killed = True
        for process in list(self._all):
            process.kill()
        self.shutdown(cancel_futures=True)

    def _call(self, fn: Callable, args: tuple, kwargs: dict):
        process = self._take()
        try:
            return process.call(fn, args, kwargs)
        except ProcessDiedError:
            if self._killed:
                raise CancelledError from None
            raise
        finally:
            self._idle.append(process)

    def _take(self) -> "_Process":
        """Return a living process; an idle one may have been killed."""
        while True:
            try:
                process = self._idle.pop()
            except IndexError:
                break
            if process.is_alive():
                return process
            self._all.remove(process)
        process = _Process()
        self._all.append(process)
        if self._killed:
            process.kill()
        return process


class _Process:
    """A process, and the connection over which it gets its calls."""

    def __init__(self):
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def call(self, fn: Callable, args: tuple, kwargs: dict):
        try:
            self._connection.send((fn, args, kwargs))
            result, where = self._connection.recv()
        except (EOFError, OSError):
            self.kill()
            raise ProcessDiedError(self._process.exitcode) from None
        if where is None:
            return result
        raise result from TracebackOfProcess(where)

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()


def _serve(connection: Connection) -> None:
    """Run calls in a process, until the other end of the connection is closed.

    One thread is used, because other processes and the network need the cores.
    """
    bind_to_parent()
    os.environ["OMP_NUM_THREADS"] = "1"  # torch reads it when the first call imports torch
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    with lasting_streams():
        _answer(connection)


def _answer(connection: Connection) -> None:
    while True:
        try:
            fn, args, kwargs = connection.recv()
        except EOFError:
            return
        try:
            reply = fn(*args, **kwargs), None
        except Exception as error:
            reply = _sendable(error), traceback.format_exc()
        try:
            connection.send(reply)
        except Exception as error:  # it cannot be pickled
            where = reply[1] or traceback.format_exc()
            connection.send((RuntimeError(f"{type(reply[0]).__name__} cannot be sent back ({error})"), where))
        del fn, args, kwargs, reply  # they may be large, and the next call may come much later


def _sendable(error: Exception) -> Exception:
    """Return the error, or one with the same text where it cannot be pickled."""
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:  # its class may do anything
        return RuntimeError(f"{type(error).__name__}: {error}")


@contextmanager
def workers(processes: int) -> Iterator[Executor]:
    """Yield a pool of processes; with 0, calls run in this process. After an exception the processes are killed."""
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
