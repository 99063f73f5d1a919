"""The process of one device: loads the models once, and predicts one job after the other."""

import os
import threading
from pathlib import Path

import torch
from tqdm import tqdm

from magms_nnunet.errors import InputError
from magms_nnunet.model.agreement import split_folder_name
from magms_nnunet.model.expected import attached_dice
from magms_nnunet.model.model import TrainedModel, load_model
from magms_nnunet.report.figures import region_colour
from magms_nnunet.serve.job import Answer, Task
from magms_nnunet.serve.prediction import predict_task, window_request
from magms_nnunet.serve.settings import Models

_LOADED: dict[Path, TrainedModel] = {}


def load(models: Models) -> tuple[list[dict], int]:
    """Load the models that are not in memory, and the first stages of cascades.

    Returns:
        A description of each model, and the number of GPUs; 0 on the CPU.

    Raises:
        InputError: a model or the device cannot be used.
    """
    os.environ.pop("OMP_NUM_THREADS", None)  # it is 1, as for processes beside the network
    if models.threads:
        os.environ["OMP_NUM_THREADS"] = models.threads
    tqdm.set_lock(threading.RLock())  # its default is a semaphore of the system, which a killed process leaves behind
    window_request(models).prepare_device()
    descriptions = [_description(stages(folder, models), models) for folder in models.folders]
    on_gpu = models.device in (None, "cuda") and torch.cuda.is_available()
    return descriptions, on_gpu * torch.cuda.device_count()


def run(models: Models, folder: Path, task: Task) -> Answer:
    """Predict the files of a job; see :func:`magms_nnunet.serve.prediction.predict_task`.

    Args:
        models: to load, if they are not in memory.
        folder: of the model to use.
        task: the job.
    """
    load(models)
    return predict_task(models, stages(folder, models), task)


def stages(folder: Path, models: Models) -> tuple[TrainedModel, ...]:
    """Return the model, and before it the stage whose segmentation it needs.

    Raises:
        InputError: a stage cannot be used, or the stages are of different datasets.
    """
    last = _model(folder, models)
    if last.previous_stage is None:
        return (last,)
    trainer, plans, _ = split_folder_name(folder.name) or ("TRAINER", "PLANS", "")
    first_folder = folder.parent / f"{trainer}__{plans}__{last.previous_stage}"
    if not first_folder.is_dir():
        raise InputError(f"{folder} is a cascade's second stage, and its first is not beside it: add {first_folder}")
    first = _model(first_folder, models)
    for key in ("channel_names", "labels", "file_ending"):
        if first.dataset_json[key] != last.dataset_json[key]:
            raise InputError(f"{folder} and its first stage {first_folder} have other {key}: they are of two datasets")
    return first, last


def _model(folder: Path, models: Models) -> TrainedModel:
    if folder not in _LOADED:
        loaded = load_model(folder, models.folds, models.checkpoint, trust_checkpoint=models.trust_checkpoint)
        window_request(models).predictor(loaded)  # checks that --fill suits the model
        _LOADED[folder] = loaded
    return _LOADED[folder]


def _description(of_stages: tuple[TrainedModel, ...], models: Models) -> dict:
    *first, model = of_stages
    expected = {
        model.modalities.format(subset): attached_dice(model, subset, models.fill)
        for subset in model.modalities.subsets()
    }
    return {
        "dataset": model.plans["dataset_name"],
        "name": model.folder.name,
        "folder": str(model.folder),
        "previous_stage": first[0].folder.name if first else None,
        "modalities": list(model.modalities.names),
        "any_subset": all(stage.takes_subsets for stage in of_stages) or models.fill is not None,
        "file_ending": model.dataset_json["file_ending"],
        "labels": model.dataset_json["labels"],
        "legend": _legend(model.dataset_json),
        "folds": [str(fold) for fold in model.folds],
        "sha256": model.fingerprint,
        "expected_dice": {name: scores for name, scores in expected.items() if scores is not None},
    }


def _legend(dataset_json: dict) -> list[dict]:
    """Return name and colour of each value in a segmentation; for regions, of the value that nnU-Net writes."""
    names = [name for name in dataset_json["labels"] if name not in ("background", "ignore")]
    values = dataset_json.get("regions_class_order") or [dataset_json["labels"][name] for name in names]
    return [
        {"label": name, "value": value, "colour": region_colour(value - 1)}
        for name, value in zip(names, values, strict=True)
    ]
