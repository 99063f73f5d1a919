"""What ``magms_predict`` does: flags, folders and files are checked before the model is loaded, then the cases run."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from nnunetv2.utilities.file_path_utilities import get_output_folder

from magms_nnunet.cases import Case, check_files, choose_modalities, find_cases
from magms_nnunet.errors import CaseError, InputError
from magms_nnunet.inference.folder import Job, drop_finished, predict_folder
from magms_nnunet.inference.model import Fold, load_model, read_json
from magms_nnunet.inference.predictor import Predictor
from magms_nnunet.modalities import Modalities


@dataclass(frozen=True)
class PredictionRequest:
    """The flags of ``magms_predict``; either ``model`` or dataset and configuration is given."""

    input: Path
    output: Path
    model: Path | None
    dataset: str | None
    configuration: str | None
    trainer: str
    plans: str
    folds: tuple[Fold, ...]
    checkpoint: str
    modalities: tuple[str, ...] | None
    fill: str | None
    previous_stage: Path | None
    step_size: float
    mirroring: bool
    save_probabilities: bool
    continue_prediction: bool
    preprocessing_processes: int
    export_processes: int
    part: int
    parts: int
    device: str | None
    results_on_device: bool
    progress_bar: bool
    verbose: bool


def predict(request: PredictionRequest) -> dict[str, str]:
    """Predict a folder.

    Returns:
        Case -> message, of those that failed; the others are written.

    Raises:
        InputError: nothing can be predicted; nothing has been written.
    """
    _check_device(request.device)
    folder = request.model or _model_folder(request)
    dataset_json = read_json(folder / "dataset.json")
    modalities, ending = Modalities.from_dataset_json(dataset_json), dataset_json["file_ending"]
    requested = None if request.modalities is None else modalities.parse(request.modalities)
    cases, misnamed = find_cases(request.input, ending)
    _check_output(request)
    jobs = []
    failed = {
        path.name: f"belongs to no case: name it CASE_XXXX{ending}, XXXX being the channel in four digits"
        for path in misnamed[request.part :: request.parts]
    }
    for case in cases[request.part :: request.parts]:
        try:
            subset = choose_modalities(case, requested, modalities, ending)
            check_files(case, subset, modalities)
            jobs.append(Job(case, subset, _previous_stage(case, request.previous_stage, ending)))
        except CaseError as error:
            failed[case.name] = error.message
    if not jobs:
        return failed
    model = load_model(folder, request.folds, request.checkpoint)
    if model.is_cascaded and request.previous_stage is None:
        raise InputError(f"{model.configuration} is a cascade: give its previous stage's -prev_stage_predictions")
    if not model.is_cascaded and request.previous_stage is not None:
        raise InputError(f"{model.configuration} has no previous stage: leave out -prev_stage_predictions")
    predictor = Predictor(
        model,
        device=request.device,
        step_size=request.step_size,
        mirroring=request.mirroring,
        results_on_device=request.results_on_device,
        verbose=request.verbose,
        fill=request.fill,
    )
    if requested is not None:
        predictor.check_subset(requested)
    if request.continue_prediction:
        jobs = drop_finished(jobs, request.output, predictor, request.save_probabilities)
    return failed | predict_folder(
        predictor,
        jobs,
        request.output,
        save_probabilities=request.save_probabilities,
        preprocessing_processes=request.preprocessing_processes,
        export_processes=request.export_processes,
        progress_bar=request.progress_bar,
    )


def _check_device(device: str | None) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("-device cuda: torch finds no CUDA GPU here; use -device cpu")
    if device == "mps" and not torch.backends.mps.is_available():
        raise InputError("-device mps: torch finds no Apple GPU here; use -device cpu")
    if device != "cuda" and not (device is None and torch.cuda.is_available()):
        torch.set_num_threads(os.cpu_count() or 1)


def _model_folder(request: PredictionRequest) -> Path:
    """nnU-Net's folder for dataset, trainer, plans and configuration."""
    try:
        folder = Path(get_output_folder(request.dataset, request.trainer, request.plans, request.configuration))
    except (RuntimeError, ValueError) as error:
        raise InputError(f"-d {request.dataset}: {str(error).splitlines()[0]}") from error
    if not folder.is_dir():
        trained = ", ".join(sorted(path.name for path in folder.parent.glob("*__*__*"))) or "nothing"
        raise InputError(f"no trained model {folder.name} in {folder.parent}; there is {trained}: see -tr, -p and -c")
    return folder


def _check_output(request: PredictionRequest) -> None:
    output = request.output
    if output.resolve() == request.input.resolve():
        raise InputError(f"-i and -o are the same folder, {output}: choose another one for the segmentations")
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise InputError(f"cannot write to output folder {output} ({error.strerror}): choose another -o") from error


def _previous_stage(case: Case, folder: Path | None, ending: str) -> Path | None:
    if folder is None:
        return None
    path = folder / f"{case.name}{ending}"
    if not path.is_file():
        raise CaseError(case.name, f"no {path.name} in {folder}: predict the previous stage for this case first")
    return path
