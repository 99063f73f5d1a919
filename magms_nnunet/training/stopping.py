"""Stops a training after the current step, with a checkpoint and without leaving processes."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from types import FrameType

import torch
import torch.distributed as dist

from magms_nnunet.runtime.signals import Stopped, exit_on_signal

GRACE_SECONDS = 25  # clusters kill after 30
_AUGMENTING_SECONDS = 3  # for the current batch of a process


class Signals:
    """Delays SIGINT and SIGTERM while a step changes the weights.

    Args:
        together: whether other processes train with this one and receive the signal at about the same time. All stop
            after the same step: one that stopped earlier would leave the others waiting.
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
        """Delay a signal to the end of the block.

        Raises:
            Stopped: a signal was received.
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
        """End the program when a signal arrives within the block.

        Args:
            tidy_up: called with the name of the signal; later signals are ignored.
            last_words: printed where this takes too long, for a long step for instance.

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
    """Return the signal that any of the processes has received."""
    number = torch.tensor(signal or 0, device="cuda" if dist.get_backend() == "nccl" else "cpu")
    dist.all_reduce(number, dist.ReduceOp.MAX)
    return int(number) or None


def end_augmentation(augmenters: Sequence, processes: Sequence[BaseProcess]) -> None:
    """End the augmentation within seconds.

    Args:
        augmenters: of nnU-Net, with or without processes.
        processes: that they have started.
    """
    killer = threading.Timer(_AUGMENTING_SECONDS, kill, [processes])
    killer.start()
    for augmenter in augmenters:
        if hasattr(augmenter, "_finish"):
            augmenter._finish(timeout=_AUGMENTING_SECONDS + 1)
    killer.cancel()
    kill(processes)


def kill(processes: Sequence[BaseProcess]) -> None:
    """Kill processes, which have nothing to tidy up."""
    for process in processes:
        process.kill()
