"""A job: the files of one patient, from the upload to the answer."""

import secrets
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from magms_nnunet.serve.study import StudyFlags

WAITING, RUNNING, DONE, FAILED, CANCELLED = "waiting", "running", "done", "failed", "cancelled"
ENDED = (DONE, FAILED, CANCELLED)
IMAGES, _CANCEL, _PROGRESS = "images", "cancel", "progress"


@dataclass(frozen=True)
class Preview:
    """The voxels for the slices of the page.

    Attributes:
        images: modality -> grey values ``(z, y, x)``, uint8, axes towards left, posterior and superior.
        labels: segmentation on the same grid, uint16.
        spacing_mm: z, y, x.
    """

    images: dict[str, np.ndarray]
    labels: np.ndarray
    spacing_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Answer:
    """The answer to a job: name and bytes of the segmentation, its JSON, and slices where they are wanted."""

    name: str
    segmentation: bytes
    report: bytes
    preview: Preview | None = None


@dataclass(frozen=True)
class Task:
    """A job, as it is sent to a worker.

    Attributes:
        folder: private; holds ``images`` under nnU-Net's names, or a study.
        case: name of the result.
        study: flags of a study; None for images.
        preview: whether slices are wanted.
        voxels: largest number of voxels of an image.
    """

    folder: Path
    case: str
    study: StudyFlags | None = None
    preview: bool = False
    voxels: int = 1 << 28


@dataclass
class Job:
    """A job of a client.

    Attributes:
        folder: private; holds the files until the job has ended.
        model: identifier.
        case: name of the result.
        modalities: of the uploaded files, in the order of the model.
        study: flags of the request for a study; None for images.
        preview: whether slices are wanted.
        state: one of the constants of this module.
        detail: message of a failure.
        status: HTTP status of a failure.
        fetched: whether the client has fetched the result.
        seconds: from the end of the upload to the end of the job.
        files: lock for changes of the folder.
    """

    folder: Path
    model: str = ""
    case: str = "image"
    modalities: tuple[str, ...] = ()
    study: StudyFlags | None = None
    preview: bool = False
    state: str = WAITING
    status: int = 422
    detail: str = ""
    answer: Answer | None = None
    fetched: bool = False
    seconds: float | None = None
    made: float = field(default_factory=time.monotonic)
    ended: float | None = None
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    files: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def images(self) -> Path:
        """Folder of the uploaded images."""
        return self.folder / IMAGES

    @property
    def cancelling(self) -> bool:
        """Whether the job has been cancelled."""
        return self.state == CANCELLED

    def cancel(self) -> None:
        """Make the worker stop at the next tile."""
        self.state = CANCELLED
        with self.files:
            if self.folder.is_dir():
                (self.folder / _CANCEL).touch()

    def progress(self) -> float:
        """Return the share of the predicted tiles, between 0 and 1, without reading and writing."""
        if self.state == DONE:
            return 1.0
        try:
            return float((self.folder / _PROGRESS).read_text() or 0)
        except (OSError, ValueError):  # the file does not exist, or is being written
            return 0.0

    def remove_files(self) -> None:
        """Remove the patient's files."""
        with self.files:
            shutil.rmtree(self.folder, ignore_errors=True)


def note_progress(folder: Path, fraction: float) -> None:
    """Record the progress of a job, in the worker."""
    (folder / _PROGRESS).write_text(f"{fraction:.3f}")


def is_cancelled(folder: Path) -> bool:
    """Return whether the job is cancelled, in the worker."""
    return (folder / _CANCEL).exists()
