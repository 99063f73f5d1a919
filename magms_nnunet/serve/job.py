"""One job: the files of one patient, on their way from the upload to the answer."""

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
    """What the page draws slices from.

    Attributes:
        images: modality -> grey values ``(z, y, x)``, uint8, axes towards left, posterior and superior.
        labels: the segmentation, the same, uint16.
        spacing_mm: z, y, x.
    """

    images: dict[str, np.ndarray]
    labels: np.ndarray
    spacing_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Answer:
    """What a job ends with: the segmentation's name and bytes, its JSON, and slices where they were asked for."""

    name: str
    segmentation: bytes
    report: bytes
    preview: Preview | None = None


@dataclass(frozen=True)
class Task:
    """What a worker is told of a job.

    Attributes:
        folder: private; holds ``images`` under nnU-Net's names, or a study.
        case: what the result is called.
        study: flags, where it is a study.
        preview: whether slices are wanted.
        voxels: of an image at the most.
    """

    folder: Path
    case: str
    study: StudyFlags | None = None
    preview: bool = False
    voxels: int = 1 << 28


@dataclass
class Job:
    """What a client has asked for.

    Attributes:
        folder: private; holds the files until the job has ended.
        model: identifier.
        case: what the result is called.
        modalities: that were given, in the model's order.
        study: the request's flags, where its files are a study.
        preview: whether slices are wanted.
        state: one of those above.
        detail: why it failed, ``status`` of HTTP that fits that.
        fetched: whether the client has the result.
        seconds: from the end of the upload to the end.
        files: held by who adds to the folder or removes it.
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
        """Whether it has been cancelled."""
        return self.state == CANCELLED

    def cancel(self) -> None:
        """Have the worker stop at the next tile."""
        self.state = CANCELLED
        with self.files:
            if self.folder.is_dir():
                (self.folder / _CANCEL).touch()

    def progress(self) -> float:
        """Between 0 and 1: of the tiles that are predicted; reading and writing are not counted."""
        if self.state == DONE:
            return 1.0
        try:
            return float((self.folder / _PROGRESS).read_text() or 0)
        except (OSError, ValueError):  # it has not begun, or is being written
            return 0.0

    def remove_files(self) -> None:
        """Remove the patient's files."""
        with self.files:
            shutil.rmtree(self.folder, ignore_errors=True)


def note_progress(folder: Path, fraction: float) -> None:
    """In the worker: say how far a job is."""
    (folder / _PROGRESS).write_text(f"{fraction:.3f}")


def is_cancelled(folder: Path) -> bool:
    """In the worker: whether to stop."""
    return (folder / _CANCEL).exists()
