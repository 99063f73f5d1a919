"""What is said to a person, whose terminal, pipe or disk may be gone: it never costs a result."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class LastingStream:
    """A standard stream. What can no longer be written is lost, and the stream goes nowhere from then on."""

    def __init__(self, stream):
        self._stream = stream

    def write(self, text: str) -> int:
        """Behave as any text stream."""
        try:
            return self._stream.write(text)
        except UnicodeEncodeError:  # a name in another script, on a terminal that knows ASCII only
            return self.write(text.encode("ascii", "backslashreplace").decode())
        except (OSError, ValueError):  # a closed Python stream raises a ValueError
            self._lose()
            return len(text)

    def flush(self) -> None:
        """Behave as any text stream."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._lose()

    def _lose(self) -> None:
        """Put nothing in the place of what is gone, for libraries in C and processes that are started, too."""
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            try:
                os.dup2(null, self._stream.fileno())
            finally:
                os.close(null)
            self._stream.flush()  # what it has kept

    def __getattr__(self, name: str):
        return getattr(self._stream, name)


@contextmanager
def lasting_streams() -> Iterator[None]:
    """While the block runs, stdout and stderr are :class:`LastingStream`, also where they have been closed."""
    for descriptor in range(3):  # else the next files to be opened get these numbers, and messages go into results
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
            os.set_inheritable(descriptor, True)
    before = {name: getattr(sys, name) for name in ("stdout", "stderr")}
    for name, stream in before.items():
        # It is not closed: what is still printed at Python's end would be an error.
        setattr(sys, name, LastingStream(stream or open(os.devnull, "w")))  # noqa: SIM115
    try:
        yield
    finally:
        for name, stream in before.items():
            getattr(sys, name).flush()
            setattr(sys, name, stream)
