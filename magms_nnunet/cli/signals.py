"""SIGINT and SIGTERM end a command within seconds."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

GRACE_SECONDS = 3


class Stopped(KeyboardInterrupt):
    """Raised where the command is when the signal comes, so that it tidies up on its way out."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


@contextmanager
def stopped_in_time() -> Iterator[None]:
    """Raise :class:`Stopped` on SIGINT and SIGTERM; and end the process if it has not ended ``GRACE_SECONDS`` later.

    Python handles signals between two of its own steps only, and a step into a library may take minutes; so may its
    own end on a busy machine. Ending there is safe: nothing incomplete has its final name, and the next run removes
    what is left.
    """
    if os.name != "posix" or threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
    handlers = {number: signal.signal(number, _stop) for number in numbers}
    receiving, sending = os.pipe()
    os.set_blocking(sending, False)
    previous = signal.set_wakeup_fd(sending, warn_on_full_buffer=False)  # written to at once, whatever Python is doing
    threading.Thread(target=_end_in_time, args=(receiving, numbers), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous)
        os.close(sending)  # which ends the thread, unless it has received a signal
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _stop(number: int, frame) -> None:
    raise Stopped(number)


def _end_in_time(receiving: int, numbers: list[int]) -> None:
    with open(receiving, "rb", buffering=0) as received:
        while number := received.read(1):
            if number[0] in numbers:
                time.sleep(GRACE_SECONDS)
                os._exit(128 + number[0])
