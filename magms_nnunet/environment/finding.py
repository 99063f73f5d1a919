"""The result of a check."""

from dataclasses import dataclass

OK, WARN, FAIL = "OK", "WARN", "FAIL"


@dataclass(frozen=True)
class Finding:
    """A line of the report.

    Attributes:
        status: ``OK``, ``WARN`` (some uses are limited) or ``FAIL`` (training or prediction cannot work).
        subject: of the check, such as nnUNet_raw.
        message: the result.
        remedy: for the user; empty where none is needed.
    """

    status: str
    subject: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        remedy = f": {self.remedy}" if self.remedy else ""
        return f"{self.status:5} {self.subject}: {self.message}{remedy}"


def one_line(error: BaseException) -> str:
    """Return type and first line of an error."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
