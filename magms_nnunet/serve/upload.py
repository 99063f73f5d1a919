"""A file of a client."""

from dataclasses import dataclass
from pathlib import Path

from magms_nnunet.serve.problems import Problem
from magms_nnunet.serve.settings import Limits


@dataclass(frozen=True)
class Upload:
    """An uploaded file.

    Attributes:
        path: of the stored file.
        modality: as the client gives it.
        name: as the client gives it.
    """

    path: Path
    modality: str
    name: str


def too_large(limits: Limits) -> Problem:
    """Return the error for files beyond the limit."""
    return Problem(413, f"the files are larger than the {limits.upload_bytes} bytes that this server takes: crop them")
