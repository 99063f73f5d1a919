"""How every command ends: 0 done, 2 bad input, 3 some cases failed, 1 a fault of ours, 130 or 143 by a signal."""

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from magms_nnunet.cli.signals import Stopped, stopped_in_time
from magms_nnunet.errors import InputError, InputWarning


def run(command: str, function: Callable[[], int], debug: bool) -> int:
    """Call ``function`` and turn what it raises into one line and an exit code; ``debug`` lets it through."""
    try:
        with stopped_in_time(), _warnings_as_lines(command):
            return function()
    except KeyboardInterrupt as stop:
        print(f"{command}: interrupted", file=sys.stderr)
        return stop.exit_code if isinstance(stop, Stopped) else 130
    except InputError as error:
        if debug:
            raise
        print(f"{command}: error: {one_line(error)}", file=sys.stderr)
        return 2
    except Exception as error:
        if debug:
            raise
        reason = (str(error).splitlines() or [""])[0]
        print(f"{command}: unexpected {type(error).__name__}: {reason} (--debug shows where)", file=sys.stderr)
        return 1


@contextmanager
def _warnings_as_lines(command: str) -> Iterator[None]:
    """Print each InputWarning as one line, and every other warning as Python does."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", InputWarning)
        show = warnings.showwarning

        def show_line(message, category, *where, **options) -> None:
            if issubclass(category, InputWarning):
                print(f"{command}: warning: {one_line(message)}", file=sys.stderr)
            else:
                show(message, category, *where, **options)

        warnings.showwarning = show_line
        yield


def starting(command: str, shown: bool) -> None:
    """Show at once that something happens: what comes next imports torch, which takes seconds."""
    if shown:
        print(f"{command}: starting", file=sys.stderr, flush=True)


def one_line(message: object) -> str:
    """Without line breaks and control characters, which a file name may hold: they are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(message))


def failures(command: str, failed: dict[str, str]) -> int:
    """Name the cases that failed; the exit code."""
    for case, message in failed.items():
        print(f"{command}: {one_line(f'{case}: {message}')}", file=sys.stderr)
    return 3 if failed else 0
