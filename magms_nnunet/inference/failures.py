"""Collects the cases that failed, while the others continue."""

import sys
import traceback
from concurrent.futures import CancelledError, Future

import torch
from tqdm import tqdm

from magms_nnunet.errors import CaseError, FaultMessage, InputError, one_line
from magms_nnunet.inference.processes import ProcessDiedError


class Failures:
    """The failed cases; with a progress bar, each failure is also printed at once.

    Args:
        progress_bar: whether a progress bar is shown.

    Attributes:
        messages: case -> reason of the failure, in one line.
    """

    def __init__(self, progress_bar: bool):
        self.messages: dict[str, str] = {}
        self._prints = progress_bar

    def note(self, case: str, error: Exception) -> None:
        """Record the failure of a case; only the first one counts."""
        if case in self.messages or isinstance(error, CancelledError):
            return
        self.messages[case] = failure_message(error)
        if self._prints:
            tqdm.write(one_line(f"{case}: {self.messages[case]}"), file=sys.stderr)

    def watch(self, case: str, future: Future) -> Future:
        """Record the failure of a call beside the network at once, before its result is taken."""

        def done(future: Future) -> None:
            if not future.cancelled() and isinstance(error := future.exception(), Exception):
                self.note(case, error)

        future.add_done_callback(done)
        return future


def failure_message(error: Exception, addition: str = "") -> str:
    """Return the reason of a failure in one line; a :class:`FaultMessage` for an internal error.

    Args:
        error: of the case.
        addition: to the line.
    """
    if isinstance(error, CaseError):
        return f"{error.message}{addition}"
    if isinstance(error, InputError | ProcessDiedError):
        return f"{error}{addition}"
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in reason:
        return f"not enough memory ({reason}): try --not_on_device, -device cpu, or smaller -npp and -nps{addition}"
    if isinstance(error, OSError):
        return f"{reason}{addition}"
    message = FaultMessage(f"unexpected {reason}{addition} (--debug shows where)")
    message.traceback = "".join(traceback.format_exception(error))
    return message
