"""A file as a client has sent it."""

from dataclasses import dataclass
from pathlib import Path

from magms_nnunet.serve.problems import Problem
from magms_nnunet.serve.settings import Limits


@dataclass(frozen=True)
class Upload:
    """A file of a client.

    Attributes:
        path: where it is stored.
        modality: what the client says that it is.
        name: what the client calls it.
    """

    path: Path
    modality: str
    name: str


def too_large(limits: Limits) -> Problem:
    """What is said of files beyond the limit."""
    return Problem(413, f"the files are larger than the {limits.upload_bytes} bytes that this server takes: crop them")
