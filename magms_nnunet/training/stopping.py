"""A training that is told to stop: after the step that it is in, with a checkpoint, and without leaving processes."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from types import FrameType

import torch
import torch.distributed as dist

from magms_nnunet.runtime.signals import Stopped, exit_on_signal

GRACE_SECONDS = 25  # clusters give 30 before they kill
_AUGMENTING_SECONDS = 3  # for the batch that a process is at


class Signals:
    """SIGINT and SIGTERM, which wait while a step changes the weights.

    Args:
        together: other processes train with this one and are told to stop at about the same time. All stop after the
            same step: one that stopped before it would leave the others waiting in it.
    """

    def __init__(self, together: bool = False):
        self._held = False
        self._together = together
        self._waiting: int | None = None

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if not (self._held or self._together):
            raise Stopped(number)
        self._waiting = number

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside, a signal waits for the end.

        Raises:
            Stopped: there was one.
        """
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._together:
            self._waiting = _of_any_process(self._waiting)
        if self._waiting is not None:
            raise Stopped(self._waiting)

    @contextmanager
    def end(self, tidy_up: Callable[[str], None], last_words: str) -> Iterator[None]:
        """Inside, a signal ends the program.

        Args:
            tidy_up: called with the signal's name; signals that follow are too late.
            last_words: printed where that takes too long, a single step for instance.

        Raises:
            SystemExit: with 130 or 143, after a signal.
        """
        with exit_on_signal(GRACE_SECONDS, self._receive, last_words):
            try:
                yield
            except Stopped as stop:
                self._held = True
                tidy_up(str(stop))
                raise SystemExit(stop.exit_code) from None


def _of_any_process(signal: int | None) -> int | None:
    """The signal that any of the processes has received."""
    told = torch.tensor(signal or 0, device="cuda" if dist.get_backend() == "nccl" else "cpu")
    dist.all_reduce(told, dist.ReduceOp.MAX)
    return int(told) or None


def end_augmentation(augmenters: Sequence, processes: Sequence[BaseProcess]) -> None:
    """End what makes batches, within seconds.

    Args:
        augmenters: nnU-Net's, those that have processes and others.
        processes: all that they have started.
    """
    killer = threading.Timer(_AUGMENTING_SECONDS, kill, [processes])
    killer.start()
    for augmenter in augmenters:
        if hasattr(augmenter, "_finish"):
            augmenter._finish(timeout=_AUGMENTING_SECONDS + 1)
    killer.cancel()
    kill(processes)


def kill(processes: Sequence[BaseProcess]) -> None:
    """End processes, whatever they do; none of them has anything to tidy up."""
    for process in processes:
        process.kill()
