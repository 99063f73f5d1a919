"""How every command ends: 0 done, 2 bad input, 3 some cases failed, 1 a fault of ours, 130 interrupted."""

import sys
from collections.abc import Callable

from magms_nnunet.errors import InputError


def run(command: str, function: Callable[[], int], debug: bool) -> int:
    """Call ``function`` and turn what it raises into one line and an exit code; ``debug`` lets it through."""
    try:
        return function()
    except KeyboardInterrupt:
        print(f"{command}: interrupted", file=sys.stderr)
        return 130
    except InputError as error:
        if debug:
            raise
        print(f"{command}: error: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        if debug:
            raise
        reason = (str(error).splitlines() or [""])[0]
        print(f"{command}: unexpected {type(error).__name__}: {reason} (--debug shows where)", file=sys.stderr)
        return 1


def failures(command: str, failed: dict[str, str]) -> int:
    """Name the cases that failed; the exit code."""
    for case, message in failed.items():
        print(f"{command}: {case}: {message}", file=sys.stderr)
    return 3 if failed else 0
