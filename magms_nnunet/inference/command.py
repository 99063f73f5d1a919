"""``magms_predict`` for many cases: checks flags, folders and files, then loads the model and predicts the cases."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tqdm import tqdm

from magms_nnunet.errors import CaseError, InputError, InputWarning
from magms_nnunet.images.appearance import Appearance
from magms_nnunet.images.bids import find_bids
from magms_nnunet.images.cases import Case, check_result_name, choose_modalities, find_cases
from magms_nnunet.images.checks import InputChecks, check_case, check_previous_stage
from magms_nnunet.images.cohort import read_cohort
from magms_nnunet.inference.case_report import expectation_of_subset
from magms_nnunet.inference.earlier_results import (
    check_model_files,
    check_parts,
    check_replaceable,
    check_result,
    drop_finished,
    is_finished,
    is_prediction_report,
)
from magms_nnunet.inference.export import Export
from magms_nnunet.inference.extras import NOTHING_MORE, Extras
from magms_nnunet.inference.failures import failure_message
from magms_nnunet.inference.folder import predict_folder
from magms_nnunet.inference.job import Job, file_stamps
from magms_nnunet.inference.log import PredictionLog
from magms_nnunet.inference.request import ModelRequest, WindowRequest, check_output
from magms_nnunet.inference.table import write_table
from magms_nnunet.modalities import Modalities, Subset
from magms_nnunet.model.model_json import read_dataset_json, read_plans
from magms_nnunet.storage.files import reserved_name
from magms_nnunet.storage.output_lock import locked_output
from magms_nnunet.trust.advice import WEAK_BELOW

FOLDER, COHORT, BIDS = "folder", "cohort", "bids"
MODEL_FILES = ("dataset", "plans")  # their JSONs are copied to the output folder


@dataclass(frozen=True)
class PredictionRequest:
    """The flags of ``magms_predict`` for many cases.

    Attributes:
        input: depending on ``kind``, a folder in nnU-Net's layout, the table of a cohort, or a BIDS folder.
        bids_suffixes: ``NAME=SUFFIX``, where they are not usual.
        finished: is called with the JSON of every case that is done.
    """

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
    extras: Extras = NOTHING_MORE
    weak_below: float = WEAK_BELOW
    finished: Callable[[dict], object] = lambda report: None
    kind: str = FOLDER
    bids_suffixes: tuple[str, ...] = ()


def predict(request: PredictionRequest) -> dict[str, str]:
    """Predict a folder.

    Returns:
        Case -> message, of those that failed; the others are written.

    Raises:
        InputError: nothing can be predicted; nothing has been written.
    """
    request.window.prepare_device()
    dataset_json, plans = read_dataset_json(request.model.folder()), read_plans(request.model.folder())
    modalities, ending = Modalities.from_dataset_json(dataset_json), dataset_json["file_ending"]
    if request.output.resolve() == request.model.folder().resolve():
        raise InputError(f"-o {request.output} is the model's folder: choose another one")
    requested = None if request.modalities is None else modalities.parse(modalities.split(request.modalities))
    request.model.check(request.window, requested, modalities)
    request = replace(request, extras=request.extras.of_model(dataset_json, len(request.model.existing_folds())))
    cases, misnamed = cases_of(request, modalities, ending)
    check_output(request.output, request.input)
    if request.previous_stage is not None and request.previous_stage.resolve() == request.output.resolve():
        raise InputError(f"-prev_stage_predictions and -o are the same folder, {request.output}: choose another -o")
    failed = {path.name: why_misnamed(path, ending) for path in misnamed[request.part :: request.parts]}
    own_cases = cases[request.part :: request.parts]
    given = request.input, request.output, request.model.folder(), *filter(None, [request.previous_stage])
    with locked_output(request.output, request.part, request.parts) as unfinished:
        log = PredictionLog(request.output, request.part, request.parts, given)
        with log.run(_described(request, len(own_cases), requested, modalities), failed):
            jobs = _jobs(request, own_cases, requested, modalities, ending, failed, plans)
            others = [case for number, case in enumerate(cases) if number % request.parts != request.part]
            failed |= _predict(request, jobs, requested, others, unfinished, log) if jobs else {}
            if request.kind != FOLDER:
                write_table(request.output, own_cases, failed, request.part, request.parts)
        return failed


def _described(request: PredictionRequest, cases: int, requested: Subset | None, modalities: Modalities) -> str:
    """Describe the run for the log."""
    model, window = request.model, request.window
    subset = "the modalities that each has" if requested is None else modalities.format(requested)
    folds = " ".join(map(str, model.existing_folds()))
    settings = {"step size": window.step_size, "mirroring": window.mirroring, "fill": window.fill}
    settings |= {"part": f"{request.part} of {request.parts}"} | asdict(request.checks)
    return (
        f"{cases} cases of a {request.kind} from {subset}; {model.folder().name}, folds {folds}, {model.checkpoint}; "
        + ", ".join(f"{name} {value}" for name, value in settings.items())
    )


def cases_of(request: PredictionRequest, modalities: Modalities, ending: str) -> tuple[list[Case], list[Path]]:
    """Return all cases, and the files of a folder that belong to no case.

    Args:
        request: the flags.
        modalities: of the model.
        ending: of the files that the model reads.
    """
    if request.kind == COHORT:
        return read_cohort(request.input, modalities, ending), []
    if request.kind == BIDS:
        return find_bids(request.input, modalities, ending, request.bids_suffixes), []
    return find_cases(request.input, ending)


def why_misnamed(path: Path, ending: str) -> str:
    """Return the reason why a file belongs to no case."""
    return (
        reserved_name(path.name)
        or f"belongs to no case: name it CASE_XXXX{ending}, XXXX being the channel in four digits"
    )


def check_name(case: Case, ending: str) -> None:
    """Raise CaseError where results of this name would replace other files."""
    if case.name.lower() in MODEL_FILES:
        taken = f"{case.name.lower()}.json"
        raise CaseError(case.name, f"its JSON would take the place of nnU-Net's {taken}: rename its files")
    if reason := reserved_name(case.name):
        raise CaseError(case.name, reason)
    check_result_name(case, ending)


def _jobs(
    request: PredictionRequest,
    cases: Sequence[Case],
    requested: Subset | None,
    modalities: Modalities,
    ending: str,
    failed: dict[str, str],
    plans: dict,
) -> list[Job]:
    """Return the jobs of the cases that can be predicted; messages on the others are added to ``failed``."""
    of_model = {
        "volumes": request.model.reads_volumes(plans),
        "appearance": Appearance.from_plans(plans, len(modalities)),
    }
    jobs = []
    for case in tqdm(cases, "checking files", unit="case", leave=False, disable=not request.progress_bar):
        try:
            check_name(case, ending)
            subset = choose_modalities(case, requested, modalities, ending)
            job = Job(case, subset, previous_stage_of(case, request.previous_stage, ending), checks=request.checks)
            done = is_finished(case.name, request.output, ending, request.save_probabilities, request.extras)
            if not (done and request.continue_prediction):
                check_replaceable(case.name, request.output, ending)
                job = replace(job, stamps=file_stamps(job.files))
                checked = check_case(case, subset, modalities, request.checks, **of_model)
                if job.previous_stage is not None:
                    check_previous_stage(case, subset, job.previous_stage, request.checks)
                for text in checked.warnings:
                    warnings.warn(f"{case.name}: {text}", InputWarning, stacklevel=2)
                job = replace(job, subset=checked.subset, empty=checked.empty, warnings=checked.warnings)
            jobs.append(job)
        except Exception as error:  # a case must not take the others with it
            has_earlier_result = is_prediction_report(request.output / f"{case.name}.json")
            stays = f"; {case.name}{ending} in {request.output} is of an earlier run" if has_earlier_result else ""
            failed[case.name] = failure_message(error, stays)
    return jobs


def _predict(
    request: PredictionRequest,
    jobs: Sequence[Job],
    requested: Subset | None,
    others: Sequence[Case],
    unfinished: Path,
    log: PredictionLog,
) -> dict[str, str]:
    """Predict the checked jobs; ``others`` are the cases of the other parts."""
    model = request.model.load()
    if model.is_cascaded and request.previous_stage is None:
        raise InputError(f"{model.configuration} is a cascade: give its previous stage's -prev_stage_predictions")
    if not model.is_cascaded and request.previous_stage is not None:
        raise InputError(f"{model.configuration} has no previous stage: leave out -prev_stage_predictions")
    predictor, modalities = request.window.predictor(model), model.modalities
    if requested is not None:
        predictor.check_subset(requested)
    check_model_files(model, request.output)
    names = None if requested is None else [modalities.names[channel] for channel in requested]
    chosen = {"settings": predictor.settings, "checks": asdict(request.checks)}
    identity = {"model": model.fingerprint, "modalities": names, **chosen}
    check_parts(identity, request.output, unfinished)
    for case in others:
        check_result(case.name, requested, request.output, predictor, request.checks)
    if request.continue_prediction:
        jobs = drop_finished(jobs, request.output, predictor, request.save_probabilities, request.extras)

    def finished(report: dict) -> None:
        log.done(report)
        request.finished(report)

    for subset in {job.subset for job in jobs}:  # raises if the attached evaluation is damaged, before the log begins
        expectation_of_subset(model, subset, predictor.fill)
    log.begin(f"{len(jobs)} to predict with the model of SHA-256 {model.fingerprint}")
    return predict_folder(
        predictor,
        jobs,
        Export(request.output, unfinished, request.save_probabilities, request.extras),
        weak_below=request.weak_below,
        finished=finished,
        preprocessing_processes=request.preprocessing_processes,
        export_processes=request.export_processes,
        progress_bar=request.progress_bar,
    )


def previous_stage_of(case: Case, folder: Path | None, ending: str) -> Path | None:
    """Return the file of the previous stage's segmentation of a case; None: the model has no such stage.

    Args:
        case: the files.
        folder: of the segmentations; None: there is no such stage.
        ending: of the files that the model reads.

    Raises:
        CaseError: the file is missing.
    """
    if folder is None:
        return None
    path = folder / f"{case.name}{ending}"
    if not path.is_file():
        raise CaseError(case.name, f"no {path.name} in {folder}: predict the previous stage for this case first")
    return path
