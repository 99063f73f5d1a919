"""What the process of one device does: it loads the models once and predicts one job after the other.

A job is predicted as ``magms_predict`` does it, on a folder of its own, so that files and messages are the same.
"""

import math
import os
import threading
import warnings
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from tqdm import tqdm

from magms_nnunet.errors import CaseError, FaultMessage, InputError, InputWarning
from magms_nnunet.images.checks import InputChecks
from magms_nnunet.images.files import ImageFileError, read_grid
from magms_nnunet.inference.command import PredictionRequest, predict
from magms_nnunet.inference.predictor import Predictor
from magms_nnunet.inference.request import ModelRequest, WindowRequest
from magms_nnunet.model.expected import expected_dice
from magms_nnunet.model.model import TrainedModel, load_model
from magms_nnunet.report.figures import region_colour
from magms_nnunet.serve.job import Answer, Preview, is_cancelled, note_progress
from magms_nnunet.serve.settings import Models

_PREVIEW_VOXELS = 1 << 25
_LOADED: dict[Path | None, TrainedModel] = {}


class UnusableError(Exception):
    """A job's files cannot be predicted, for a reason that the client can do something about."""


@dataclass(frozen=True)
class _Loaded(ModelRequest):
    """A model that is in memory."""

    def load(self) -> TrainedModel:
        return _LOADED[self.model]


@dataclass(frozen=True)
class _Window(WindowRequest):
    """Tells how far a job is, and stops where it is cancelled."""

    job: Path = Path()

    def predictor(self, model: TrainedModel) -> Predictor:
        predictor, passes = super().predictor(model), 0

        def on_tile(tile: int, tiles: int) -> None:
            nonlocal passes
            passes += tile == 0  # one for each fold
            if is_cancelled(self.job):
                raise CancelledError
            note_progress(self.job, min(1.0, (passes - 1 + tile / tiles) / len(model.folds)))

        predictor.on_tile = on_tile
        return predictor


def load(models: Models) -> tuple[list[dict], int]:
    """Load the models that are not loaded yet.

    Returns:
        What there is to say of each, and the number of GPUs; 0 where the CPU predicts.

    Raises:
        InputError: a model or the device cannot be used.
    """
    os.environ.pop("OMP_NUM_THREADS", None)  # one, as for processes beside the network
    if models.threads:
        os.environ["OMP_NUM_THREADS"] = models.threads
    tqdm.set_lock(threading.RLock())  # its own would be a semaphore of the system, which a killed process leaves
    _window(models, Path()).prepare_device()
    for folder in models.folders:
        if folder not in _LOADED:
            loaded = load_model(folder, models.folds, models.checkpoint, trust_checkpoint=models.trust_checkpoint)
            if loaded.is_cascaded:
                raise InputError(f"{folder} is a cascade's second stage, which needs files of the first: serve another")
            _window(models, Path()).predictor(loaded)  # sees whether --fill suits it
            _LOADED[folder] = loaded
    on_gpu = models.device in (None, "cuda") and torch.cuda.is_available()
    return [_description(_LOADED[folder], models) for folder in models.folders], on_gpu * torch.cuda.device_count()


def run(models: Models, folder: Path, job: Path, case: str, preview: bool) -> Answer:
    """Predict the files of a job.

    Args:
        models: loaded if they are not.
        folder: of the model to use.
        job: private folder; its ``images`` holds nnU-Net's names.
        case: of these names.
        preview: whether slices are wanted.

    Raises:
        UnusableError: says what is wrong with the files.
        CancelledError: the client has cancelled it.
        RuntimeError: an internal error.
    """
    load(models)
    model, output = _LOADED[folder], job / "output"
    ending = model.dataset_json["file_ending"]
    request = PredictionRequest(
        input=job / "images",
        output=output,
        model=_Loaded(folder, None, None, "", "", model.folds, models.checkpoint, models.trust_checkpoint),
        window=_window(models, job),
        modalities=None,
        checks=InputChecks(**models.checks),
        previous_stage=None,
        save_probabilities=False,
        continue_prediction=False,
        preprocessing_processes=0,
        export_processes=0,
        part=0,
        parts=1,
        progress_bar=False,
    )
    try:
        _check_size(request.input, case, models.largest)
        with warnings.catch_warnings():  # they are in the JSON, and a log has no names of patients
            warnings.simplefilter("ignore", InputWarning)
            failed = predict(request)
    except CaseError as error:
        raise UnusableError(error.message) from error
    except InputError as error:
        raise UnusableError(str(error)) from error
    if is_cancelled(job):
        raise CancelledError
    for message in failed.values():
        if isinstance(message, FaultMessage):
            raise RuntimeError(message.traceback)
        raise UnusableError(message)
    result = output / f"{case}{ending}"
    slices = _preview(request.input, result, model) if preview else None
    return Answer(result.name, result.read_bytes(), (output / f"{case}.json").read_bytes(), slices)


def _window(models: Models, job: Path) -> _Window:
    return _Window(
        models.device, models.step_size, models.mirroring, models.results_on_device, False, models.fill, job=job
    )


def _check_size(images: Path, case: str, largest: int) -> None:
    """See that no header declares an image that would fill the memory: a few bytes can."""
    for path in sorted(images.iterdir()):
        with suppress(ImageFileError, OSError):  # the checks of magms_predict say what is wrong
            if (voxels := math.prod(read_grid(path).size)) > largest:
                raise CaseError(case, f"{path.name} has {voxels} voxels, and this server takes {largest}: crop it")


def _description(model: TrainedModel, models: Models) -> dict:
    expected = {
        model.modalities.format(subset): expected_dice(model, subset, models.fill)
        for subset in model.modalities.subsets()
    }
    return {
        "dataset": model.plans["dataset_name"],
        "name": model.folder.name,
        "folder": str(model.folder),
        "modalities": list(model.modalities.names),
        "any_subset": model.takes_subsets or models.fill is not None,
        "file_ending": model.dataset_json["file_ending"],
        "labels": model.dataset_json["labels"],
        "legend": _legend(model.dataset_json),
        "folds": [str(fold) for fold in model.folds],
        "sha256": model.fingerprint,
        "expected_dice": {name: scores for name, scores in expected.items() if scores is not None},
    }


def _legend(dataset_json: dict) -> list[dict]:
    """Name and colour of each value in a segmentation; of regions, the value that nnU-Net writes for it."""
    names = [name for name in dataset_json["labels"] if name not in ("background", "ignore")]
    values = dataset_json.get("regions_class_order") or [dataset_json["labels"][name] for name in names]
    return [
        {"label": name, "value": value, "colour": region_colour(value - 1)}
        for name, value in zip(names, values, strict=True)
    ]


def _preview(images: Path, result: Path, model: TrainedModel) -> Preview | None:
    """Slices of a volume in eight bits; None for 2-D images."""
    segmentation = sitk.ReadImage(str(result))
    if segmentation.GetDimension() != 3:
        return None
    ending = model.dataset_json["file_ending"]
    names = {path.name.removesuffix(ending)[-4:]: path for path in images.iterdir()}
    factor = max(1, math.ceil((segmentation.GetNumberOfPixels() / _PREVIEW_VOXELS) ** (1 / 3)))

    def turned(image: sitk.Image) -> sitk.Image:
        return sitk.DICOMOrient(image[::factor, ::factor, ::factor], "LPS")

    labels = turned(segmentation)
    return Preview(
        {
            model.modalities.names[int(channel)]: _grey(sitk.GetArrayFromImage(turned(sitk.ReadImage(str(path)))))
            for channel, path in sorted(names.items())
        },
        sitk.GetArrayFromImage(labels).astype(np.uint16),
        labels.GetSpacing()[::-1],
    )


def _grey(image: np.ndarray) -> np.ndarray:
    """Grey values between the half percentiles of what is not background."""
    image = np.nan_to_num(image.astype(np.float32), posinf=0, neginf=0)
    inside = image[image != 0]
    low, high = np.percentile(inside, (0.5, 99.5)) if inside.size else (0, 1)
    return (np.clip((image - low) / max(high - low, 1e-12), 0, 1) * 255 * (image != 0)).astype(np.uint8)
