"""Predicts a job as ``magms_predict`` does, in a folder of its own, so that files and messages are the same."""

import math
import warnings
from collections.abc import Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from magms_nnunet.errors import CaseError, FaultMessage, InputError, InputWarning
from magms_nnunet.images.checks import InputChecks
from magms_nnunet.images.files import ImageFileError, read_grid
from magms_nnunet.inference.command import PredictionRequest, predict
from magms_nnunet.inference.patient import MADE, RESULTS, PatientRequest, predict_patient
from magms_nnunet.inference.predictor import Predictor
from magms_nnunet.inference.request import ModelRequest, WindowRequest
from magms_nnunet.model.model import TrainedModel
from magms_nnunet.serve.job import IMAGES, Answer, Task, is_cancelled, note_progress
from magms_nnunet.serve.preview import preview
from magms_nnunet.serve.settings import Models
from magms_nnunet.serve.study import FOLDER, StudyFlags, client_message


class UnusableError(Exception):
    """The files of a job cannot be predicted, for a reason that the client can remedy."""


@dataclass(frozen=True)
class _Loaded(ModelRequest):
    """A model in memory."""

    loaded: TrainedModel | None = None

    def load(self) -> TrainedModel:
        assert self.loaded is not None
        return self.loaded


@dataclass(frozen=True)
class _Window(WindowRequest):
    """Records the progress of a job, and stops a cancelled one.

    Attributes:
        job: folder of the job.
        first: number of folds of earlier stages.
        folds: number of folds of all stages.
    """

    job: Path = Path()
    first: int = 0
    folds: int = 1

    def predictor(self, model: TrainedModel) -> Predictor:
        predictor, passes = super().predictor(model), self.first

        def on_tile(tile: int, tiles: int) -> None:
            nonlocal passes
            passes += tile == 0  # one for each fold
            if is_cancelled(self.job):
                raise CancelledError
            note_progress(self.job, min(1.0, (passes - 1 + tile / tiles) / self.folds))

        predictor.on_tile = on_tile
        return predictor


def window_request(models: Models) -> WindowRequest:
    """Make the request of the sliding window."""
    return WindowRequest(*_window_settings(models))


def _window_settings(models: Models) -> tuple:
    return models.device, models.step_size, models.mirroring, models.results_on_device, False, models.fill


def predict_task(models: Models, stages: Sequence[TrainedModel], task: Task) -> Answer:
    """Predict the files of a job.

    Args:
        models: settings of the prediction.
        stages: the model, after the stage that it needs.
        task: the job.

    Raises:
        UnusableError: the files cannot be predicted; the message names the reason.
        CancelledError: the client has cancelled the job.
        RuntimeError: an internal error.
    """
    folds, trust = [len(stage.folds) for stage in stages], models.trust_checkpoint
    window = _Window(*_window_settings(models), job=task.folder, folds=sum(folds))
    predict_stage = _predict_images if task.study is None else _predict_study
    previous: Path | None = None
    for number, stage in enumerate(stages):
        folder = task.folder / f"stage_{number}"
        folder.mkdir()
        model = _Loaded(stage.folder, None, None, None, "", stage.folds, models.checkpoint, trust, stage)
        shared = {
            "model": model,
            "window": replace(window, first=sum(folds[:number])),
            "checks": InputChecks(**models.checks),
            "save_probabilities": False,
            "progress_bar": False,
        }
        try:
            with warnings.catch_warnings():  # the JSON has them, and the log must not name patients
                warnings.simplefilter("ignore", InputWarning)
                done = predict_stage(task, shared, folder, previous, stage)
        except CaseError as error:
            raise UnusableError(_client_message(error.message, task)) from error
        except InputError as error:
            raise UnusableError(_client_message(str(error), task)) from error
        if is_cancelled(task.folder):
            raise CancelledError
        for message in done.failed.values():
            if isinstance(message, FaultMessage):
                raise RuntimeError(message.traceback)
            raise UnusableError(_client_message(message, task))
        previous = done.segmentation
    names = [stages[-1].modalities.names[channel] for channel in done.images]
    slices = preview(dict(zip(names, done.images.values(), strict=True)), done.segmentation) if task.preview else None
    return Answer(done.result.name, done.result.read_bytes(), done.report.read_bytes(), slices)


@dataclass(frozen=True)
class _Done:
    """The results of a stage.

    Attributes:
        failed: case -> message.
        images: channel -> file on the segmentation's grid.
        segmentation: in the format of the model.
        result: segmentation in the requested format.
        report: JSON beside it.
    """

    failed: dict[str, str]
    images: dict[int, Path]
    segmentation: Path
    result: Path
    report: Path


def _predict_images(task: Task, shared: dict, folder: Path, previous: Path | None, model: TrainedModel) -> _Done:
    images, ending = task.folder / IMAGES, model.dataset_json["file_ending"]
    _check_size(images, task)
    failed = predict(
        PredictionRequest(
            **shared,
            input=images,
            output=folder,
            modalities=None,
            previous_stage=None if previous is None else previous.parent,
            continue_prediction=False,
            preprocessing_processes=0,
            export_processes=0,
            part=0,
            parts=1,
        )
    )
    result, report = folder / f"{task.case}{ending}", folder / f"{task.case}.json"
    return _Done(failed, _by_channel(images, f"{task.case}_", ending), result, result, report)


def _predict_study(task: Task, shared: dict, folder: Path, previous: Path | None, model: TrainedModel) -> _Done:
    flags, ending, work = task.study or StudyFlags(), model.dataset_json["file_ending"], folder / "work"
    work.mkdir()
    result = folder / f"{task.case}{'.dcm' if flags.dicom_seg else ending}"
    failed = predict_patient(
        PatientRequest(
            **shared,
            images=(),
            study=task.folder / FOLDER,
            series=flags.series,
            modalities=flags.modalities,
            dicom_seg=flags.dicom_seg,
            grid=flags.grid,
            register=flags.register,
            output=result,
            previous_stage=previous,
            work=work,
        )
    )
    images = _by_channel(work / MADE, "image_", ending) | _by_channel(work / MADE, "resampled_", ending)
    return _Done(failed, images, work / RESULTS / f"{task.case}{ending}", result, folder / f"{task.case}.json")


def _by_channel(folder: Path, start: str, ending: str) -> dict[int, Path]:
    """Return channel -> file of ``p1_0002.nii.gz`` and others, in the order of channels."""
    paths = sorted(folder.glob(f"*{ending}"))
    return {int(path.name.removesuffix(ending)[-4:]): path for path in paths if path.name.startswith(start)}


def _client_message(message: str, task: Task) -> str:
    return message if task.study is None else client_message(message, task.folder / FOLDER, {})


def _check_size(images: Path, task: Task) -> None:
    """Check the sizes in all headers: a file of a few bytes can declare an image that would fill the memory."""
    for path in sorted(images.iterdir()):
        with suppress(ImageFileError, OSError):  # the checks of magms_predict report it
            if (voxels := math.prod(read_grid(path).size)) > task.voxels:
                text = f"{path.name} has {voxels} voxels, and this server takes {task.voxels}: crop it"
                raise CaseError(task.case, text)
