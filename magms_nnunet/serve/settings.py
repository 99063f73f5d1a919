"""The settings of the service, in a form that can be sent to a worker without importing torch."""

from dataclasses import dataclass, field
from pathlib import Path

GIB = 1 << 30


@dataclass(frozen=True)
class Models:
    """The models, and the settings of their prediction.

    Attributes:
        folders: of the models.
        folds: names of folds; None: all that are trained.
        checkpoint: file name within the fold.
        trust_checkpoint: whether to unpickle any content.
        device: ``cuda``, ``cpu`` or ``mps``; None: the GPU if there is one.
        threads: OMP_NUM_THREADS of the server, which a worker would lose; empty where it is not set.
        checks: the fields of InputChecks.
    """

    folders: tuple[Path, ...]
    folds: tuple[int | str, ...] | None = None
    checkpoint: str = "checkpoint_final.pth"
    trust_checkpoint: bool = False
    device: str | None = None
    step_size: float = 0.5
    mirroring: bool = True
    results_on_device: bool = True
    fill: str | None = None
    threads: str = ""
    checks: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """The limits of a server, which bound its memory, disk and time.

    Attributes:
        upload_bytes: size of all files of a job, also after a zip is unpacked.
        voxels: largest number of voxels of an image.
        waiting: number of jobs that wait or are being uploaded; further ones are answered with 429.
        kept: number of finished jobs whose results are kept in memory; the oldest is removed first.
        keep_s: seconds for which a result is kept.
        job_s: seconds that a job may run.
        idle_s: seconds for which an upload may send nothing.
        cancel_s: seconds for a cancelled job to stop before its process is ended.
        stop_s: seconds for the running job to finish after the signal to stop.
    """

    upload_bytes: int = 2 * GIB
    voxels: int = 1 << 28
    waiting: int = 16
    kept: int = 16
    keep_s: float = 1800
    job_s: float = 3600
    idle_s: float = 60
    cancel_s: float = 10
    stop_s: float = 25
