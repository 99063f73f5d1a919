"""Output streams that never cost a result, even if the terminal, pipe or disk is gone."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class BrokenPipeSafeStream:
    """A standard stream that discards its output after the first error."""

    def __init__(self, stream):
        self._stream = stream

    def write(self, text: str) -> int:
        """Behave as any text stream."""
        try:
            return self._stream.write(text)
        except UnicodeEncodeError:  # a name in another script, on an ASCII terminal
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
        """Replace the stream by the null device, also for libraries in C and child processes."""
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            try:
                os.dup2(null, self._stream.fileno())
            finally:
                os.close(null)
            self._stream.flush()  # its buffer

    def __getattr__(self, name: str):
        return getattr(self._stream, name)


@contextmanager
def lasting_streams() -> Iterator[None]:
    """Make stdout and stderr :class:`BrokenPipeSafeStream` within the block, also where they are closed."""
    for descriptor in range(
        3
    ):  # otherwise the next opened files get these numbers, and messages are written into results
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
        # It is not closed, because output at the end of Python would then be an error.
        setattr(sys, name, BrokenPipeSafeStream(stream or open(os.devnull, "w")))  # noqa: SIM115
    try:
        yield
    finally:
        for name, stream in before.items():
            getattr(sys, name).flush()
            setattr(sys, name, stream)
