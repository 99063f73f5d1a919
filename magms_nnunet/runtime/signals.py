"""Ends a command within seconds of SIGINT or SIGTERM."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

GRACE_SECONDS = 3


class Stopped(KeyboardInterrupt):
    """Raised in the command when a signal arrives, so that it tidies up while it ends."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


def stop(number: int, frame: FrameType | None) -> None:
    """Handle both signals.

    Raises:
        Stopped: always.
    """
    raise Stopped(number)


@contextmanager
def exit_on_signal(
    seconds: float = GRACE_SECONDS, handler: Callable[[int, FrameType | None], None] = stop, last_words: str = ""
) -> Iterator[None]:
    """Raise :class:`Stopped` on SIGINT and SIGTERM, and end the process if it has not ended ``seconds`` later.

    Python handles signals between two of its own steps only, and a call of a library may take minutes, as may the end
    of Python on a busy machine. Ending there is safe: no incomplete file has its final name, and the next run removes
    unfinished ones. A program that continues after a command is not ended.

    Args:
        seconds: the time to end regularly.
        handler: of both signals.
        last_words: printed where the process is ended.
    """
    if os.name != "posix" or threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
    handlers = {number: signal.signal(number, handler) for number in numbers}
    receiving, sending = os.pipe()
    os.set_blocking(sending, False)
    previous = signal.set_wakeup_fd(
        sending, warn_on_full_buffer=False
    )  # written at once, even during a call of a library
    left = threading.Event()

    def end_in_time() -> None:
        with open(receiving, "rb", buffering=0) as received:
            while number := received.read(1):
                if number[0] in numbers:
                    time.sleep(seconds)
                    if left.is_set() and not _is_ending():
                        return
                    if last_words:
                        print(last_words, file=sys.stderr, flush=True)
                    os._exit(128 + number[0])

    threading.Thread(target=end_in_time, daemon=True).start()
    try:
        yield
    finally:
        left.set()
        signal.set_wakeup_fd(previous)
        os.close(sending)  # which ends the thread, unless it has received a signal
        for number, former in handlers.items():
            signal.signal(number, former)


def _is_ending() -> bool:
    """Return whether the interpreter waits for its threads, which is the first step of its end."""
    return getattr(threading, "_SHUTTING_DOWN", False)
