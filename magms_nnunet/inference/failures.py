"""The cases that failed, while the others go on."""

import sys
import traceback
from concurrent.futures import CancelledError, Future

import torch
from tqdm import tqdm

from magms_nnunet.errors import CaseError, FaultMessage, InputError, one_line
from magms_nnunet.inference.processes import ProcessDiedError


class Failures:
    """Collects what failed; where a progress bar is shown, each failure is also printed when it happens.

    Attributes:
        messages: case -> why it failed, in one line.
    """

    def __init__(self, shown: bool):
        self.messages: dict[str, str] = {}
        self._shown = shown

    def note(self, case: str, error: Exception) -> None:
        """A case failed; only its first failure counts."""
        if case in self.messages or isinstance(error, CancelledError):
            return
        self.messages[case] = failure_message(error)
        if self._shown:
            tqdm.write(one_line(f"{case}: {self.messages[case]}"), file=sys.stderr)

    def watch(self, case: str, future: Future) -> Future:
        """Note the failure of a call beside the network as soon as it happens, and not when its turn comes."""

        def done(future: Future) -> None:
            if not future.cancelled() and isinstance(error := future.exception(), Exception):
                self.note(case, error)

        future.add_done_callback(done)
        return future


def failure_message(error: Exception, addition: str = "") -> str:
    """One line on why a case failed; a :class:`FaultMessage` where neither the input nor the machine is the reason.

    Args:
        error: that it ended with.
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
