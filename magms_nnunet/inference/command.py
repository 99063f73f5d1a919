"""What ``magms_predict`` does: flags, folders and files are checked before the model is loaded, then the cases run."""

import warnings
from dataclasses import dataclass
from pathlib import Path

from magms_nnunet.cases import Case, choose_modalities, find_cases
from magms_nnunet.checks import InputChecks, check_case
from magms_nnunet.errors import CaseError, InputError, InputWarning
from magms_nnunet.inference.folder import Job, drop_finished, predict_folder
from magms_nnunet.inference.model_json import read_dataset_json, read_plans
from magms_nnunet.inference.request import ModelRequest, WindowRequest, check_output
from magms_nnunet.modalities import Modalities
from magms_nnunet.nnunet_version import warn_of_untested_nnunet


@dataclass(frozen=True)
class PredictionRequest:
    """The flags of ``magms_predict``."""

    input: Path
    output: Path
    model: ModelRequest
    window: WindowRequest
    modalities: tuple[str, ...] | None
    checks: InputChecks
    previous_stage: Path | None
    save_probabilities: bool
    continue_prediction: bool
    preprocessing_processes: int
    export_processes: int
    part: int
    parts: int
    progress_bar: bool


def predict(request: PredictionRequest) -> dict[str, str]:
    """Predict a folder.

    Returns:
        Case -> message, of those that failed; the others are written.

    Raises:
        InputError: nothing can be predicted; nothing has been written.
    """
    request.window.check_device()
    warn_of_untested_nnunet()
    dataset_json, plans = read_dataset_json(request.model.folder()), read_plans(request.model.folder())
    modalities, ending = Modalities.from_dataset_json(dataset_json), dataset_json["file_ending"]
    requested = None if request.modalities is None else modalities.parse(request.modalities)
    cases, misnamed = find_cases(request.input, ending)
    check_output(request.output, request.input)
    jobs, volumes = [], request.model.reads_volumes(plans)
    failed = {
        path.name: f"belongs to no case: name it CASE_XXXX{ending}, XXXX being the channel in four digits"
        for path in misnamed[request.part :: request.parts]
    }
    for case in cases[request.part :: request.parts]:
        try:
            subset = choose_modalities(case, requested, modalities, ending)
            checked = check_case(case, subset, modalities, request.checks, volumes=volumes)
            for text in checked.warnings:
                warnings.warn(f"{case.name}: {text}", InputWarning, stacklevel=2)
            previous = _previous_stage(case, request.previous_stage, ending)
            jobs.append(Job(case, checked.subset, previous, request.checks, checked.empty, checked.warnings))
        except CaseError as error:
            failed[case.name] = error.message
    if not jobs:
        return failed
    model = request.model.load()
    if model.is_cascaded and request.previous_stage is None:
        raise InputError(f"{model.configuration} is a cascade: give its previous stage's -prev_stage_predictions")
    if not model.is_cascaded and request.previous_stage is not None:
        raise InputError(f"{model.configuration} has no previous stage: leave out -prev_stage_predictions")
    predictor = request.window.predictor(model)
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


def _previous_stage(case: Case, folder: Path | None, ending: str) -> Path | None:
    if folder is None:
        return None
    path = folder / f"{case.name}{ending}"
    if not path.is_file():
        raise CaseError(case.name, f"no {path.name} in {folder}: predict the previous stage for this case first")
    return path
