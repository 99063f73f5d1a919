"""Errors of a user's input. Every message is one line: case, file, modality and what to do next."""

from collections.abc import Iterable


class InputWarning(UserWarning):
    """Something looks wrong, and work continues. Commands print the warning as one line."""


class InputError(Exception):
    """The command cannot start: bad flags, folders or model. Commands end with exit code 2."""


class CaseError(InputError):
    """One case cannot be processed; the others continue. Commands end with exit code 3."""

    def __init__(self, case: str, message: str):
        super().__init__(f"{case}: {message}")
        self.case = case
        self.message = message

    def __reduce__(self):  # the default would lose an argument on the way back from a worker process
        return type(self), (self.case, self.message)


class FaultMessage(str):
    """Why a case failed, where the reason is an internal error. Commands end with exit code 1.

    Attributes:
        traceback: the lines that say where.
    """

    traceback: str = ""


def shorten(value) -> str:
    """Shorten a value for a message, whatever a file holds."""
    try:
        text = repr(value)
    except RecursionError:
        text = f"a {type(value).__name__} of very many levels"
    return text if len(text) <= 80 else f"{text[:77]}..."


def one_line(message: object) -> str:
    """Escape line breaks and control characters, which names may hold."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(message))


def format_size(values: Iterable[float]) -> str:
    """Return sizes along the axes of an image for a message: ``240x240x155``."""
    return "x".join(f"{value:.8g}" for value in values)


def listing(texts: Iterable[str], most: int = 8, separator: str = ", ") -> str:
    """Join texts for a message.

    Args:
        texts: to join.
        most: number of texts that are named; the others are counted.
        separator: between the texts.
    """
    texts = list(texts)
    more = len(texts) - most
    return separator.join(texts[:most]) + (f" and {more} more" if more > 0 else "")
