"""Processes that this one starts: they leave signals to it and end with it, however it ends."""

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
    """Called in a process of ``multiprocessing``: leave Ctrl-C to the parent, and end with it.

    A process whose parent was killed may still be in a long call.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_with_it() -> None:
        if (parent := parent_process()) is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=end_with_it, daemon=True).start()


@contextmanager
def bind_forks_to_parent() -> Iterator[list[BaseProcess]]:
    """Have processes that are forked inside follow this one, whatever they run.

    SIGTERM, which clusters send to all processes of a job, ends them after this one has had the time to end them.

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
    """An object to which a weak reference can be had."""


def _follow(_: _Mark) -> None:
    signal.set_wakeup_fd(-1)  # the parent's would tell it of signals to this process
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_GRACE_SECONDS))
    bind_to_parent()
