"""A case to predict: its files, the results of their checks, and whether they are unchanged."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from magms_nnunet.errors import CaseError
from magms_nnunet.images.cases import Case
from magms_nnunet.images.checks import STRICT, InputChecks
from magms_nnunet.modalities import Subset
from magms_nnunet.storage.files import sha256


@dataclass(frozen=True)
class Job:
    """A case to predict.

    Attributes:
        case: with its files.
        subset: the modalities to predict it from.
        previous_stage: for a cascade, the previous stage's segmentation.
        checks: which inputs are accepted.
        empty: modalities whose image holds one value everywhere, which are left out.
        warnings: on the files of the case.
        stamps: of the files before they were checked; empty: they were not checked.
    """

    case: Case
    subset: Subset
    previous_stage: Path | None = None
    checks: InputChecks = STRICT
    empty: Subset = ()
    warnings: tuple[str, ...] = ()
    stamps: dict[Path, tuple[int, int] | None] = field(default_factory=dict)

    @property
    def files(self) -> list[Path]:
        """The files that are read."""
        images = [self.case.files[channel] for channel in (*self.subset, *self.empty)]
        return images if self.previous_stage is None else [*images, self.previous_stage]


def file_stamps(paths: Iterable[Path]) -> dict[Path, tuple[int, int] | None]:
    """Return size and time of change of every file; None: it is missing. Unchanged stamps mean unchanged content."""
    stamps: dict[Path, tuple[int, int] | None] = {}
    for path in paths:
        try:
            stat = path.stat()
        except OSError:
            stamps[path] = None
        else:
            stamps[path] = stat.st_size, stat.st_mtime_ns
    return stamps


def check_unchanged(job: Job, again: str) -> None:
    """Check that the files are unchanged since they were checked.

    Args:
        job: the case.
        again: remedy, for the message.

    Raises:
        CaseError: a file has changed.
    """
    if job.stamps != file_stamps(job.stamps):
        raise CaseError(job.case.name, f"its files have changed since they were checked: {again}")


def file_digests(job: Job) -> dict[str, str]:
    """Return name -> SHA-256 of each file of a job."""
    return {name: sha256(path) for path, name in file_names(job).items()}


def file_names(job: Job) -> dict[Path, str]:
    """Return file -> name in the report, with its folder where two files have one name."""
    count = Counter(path.name for path in job.files)
    return {path: path.name if count[path.name] == 1 else f"{path.parent.name}/{path.name}" for path in job.files}
