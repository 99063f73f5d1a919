"""Makes child processes leave signals to their parent, and end with it, however it ends."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import active_children, parent_process
from multiprocessing.process import BaseProcess
from multiprocessing.util import register_after_fork

_GRACE_SECONDS = 30


def bind_to_parent() -> None:
    """Leave Ctrl-C to the parent, and end with it; to be called in a process of ``multiprocessing``.

    Otherwise a process whose parent was killed could continue a long call.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_with_it() -> None:
        if (parent := parent_process()) is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=end_with_it, daemon=True).start()


@contextmanager
def bind_forks_to_parent() -> Iterator[list[BaseProcess]]:
    """Make processes that are forked within the block end with this one.

    SIGTERM, which clusters send to all processes of a job, ends them after the time that this one has to end them.

    Yields:
        A list that holds these processes afterwards.
    """
    others, mark = set(active_children()), _Mark()
    register_after_fork(mark, _follow)  # as long as the mark lives
    started: list[BaseProcess] = []
    try:
        yield started
    finally:
        started += set(active_children()) - others


class _Mark:
    """An object that allows weak references."""


def _follow(_: _Mark) -> None:
    signal.set_wakeup_fd(-1)  # otherwise the parent would get the signals of this process
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_GRACE_SECONDS))
    bind_to_parent()
