"""The exit codes of all commands: 0 done, 2 bad input, 3 failed cases, 1 internal error, 130 or 143 by a signal."""

import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from magms_nnunet.cli.surroundings import check_variables, read_names_as_utf8
from magms_nnunet.errors import FaultMessage, InputError, InputWarning, one_line
from magms_nnunet.nnunet.version import warn_of_untested_nnunet
from magms_nnunet.runtime.signals import Stopped, exit_on_signal
from magms_nnunet.runtime.streams import lasting_streams


def run(command: str, function: Callable[[], int], debug: bool) -> int:
    """Call a command's function, and turn what it raises into one line and an exit code.

    Args:
        command: name of the command, for the line.
        function: does the work and returns the exit code.
        debug: print the traceback before the line.

    Returns:
        The exit code.
    """
    read_names_as_utf8(command)
    with lasting_streams(), _no_imports_from_here():
        return _run(command, function, debug)


def _run(command: str, function: Callable[[], int], debug: bool) -> int:
    try:
        with exit_on_signal(), _warnings_as_lines(command):
            check_variables()
            if command != "magms_doctor":  # its report has a line on this
                warn_of_untested_nnunet()
            return function()
    except KeyboardInterrupt as stop:
        print(f"{command}: interrupted", file=sys.stderr)
        return stop.exit_code if isinstance(stop, Stopped) else 130
    except InputError as error:
        if debug:
            say(traceback.format_exc(), sys.stderr)
        print(f"{command}: error: {one_line(error)}", file=sys.stderr)
        return 2
    except Exception as error:
        if debug:
            say(traceback.format_exc(), sys.stderr)
        reason = one_line((str(error).splitlines() or [""])[0])
        print(f"{command}: unexpected {type(error).__name__}: {reason} (--debug shows where)", file=sys.stderr)
        return 1


@contextmanager
def _no_imports_from_here() -> Iterator[None]:
    """Keep Python processes that are started within the block from importing from the working directory."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        os.environ.pop("PYTHONSAFEPATH") if before is None else os.environ.update(PYTHONSAFEPATH=before)


@contextmanager
def _warnings_as_lines(command: str) -> Iterator[None]:
    """Print each InputWarning as one line, and every other warning as Python does."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", InputWarning)
        show = warnings.showwarning

        def show_line(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, InputWarning):
                print(f"{command}: warning: {one_line(message)}", file=sys.stderr)
            else:
                show("\n".join(map(one_line, str(message).split("\n"))), category, filename, lineno, file, line)

        vars(warnings)["showwarning"] = show_line
        yield


def starting(command: str, progress_bar: bool) -> None:
    """Print a first line at once, because the import of torch takes seconds."""
    if progress_bar:
        print(f"{command}: starting", file=sys.stderr, flush=True)


def say(text: object, file: TextIO | None = None) -> None:
    """Print a text, each line of it as :func:`one_line` does: names in it come from files, zips and folders."""
    for line in str(text).split("\n"):
        print(one_line(line), file=file, flush=True)


def failures(command: str, failed: dict[str, str], debug: bool) -> int:
    """Print a line for every case that failed.

    Args:
        command: name of the command, for the lines.
        failed: case -> message.
        debug: print the traceback of an internal error, too.

    Returns:
        The exit code: 0 without failures, 3 where cases failed, 1 where one of them is an internal error.
    """
    for case, message in failed.items():
        if debug and isinstance(message, FaultMessage):
            say(message.traceback, sys.stderr)
        print(f"{command}: {one_line(f'{case}: {message}')}", file=sys.stderr)
    if any(isinstance(message, FaultMessage) for message in failed.values()):
        return 1
    return 3 if failed else 0
