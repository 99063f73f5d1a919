"""``magms_predict --image`` and ``--dicom``: one patient, one segmentation with its JSON beside it."""

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from magms_nnunet.errors import CaseError, InputError, InputWarning
from magms_nnunet.images.appearance import Appearance
from magms_nnunet.images.cases import Case
from magms_nnunet.images.checks import InputChecks, check_case, check_previous_stage
from magms_nnunet.images.grid import RESAMPLE
from magms_nnunet.inference.export import Export
from magms_nnunet.inference.extras import NOTHING_MORE, Extras
from magms_nnunet.inference.folder import predict_folder
from magms_nnunet.inference.given_patient import GivenPatient, given_by_name, given_by_study, on_one_grid
from magms_nnunet.inference.job import Job
from magms_nnunet.inference.patient_output import check_targets, publish_results, split_name, target_files
from magms_nnunet.inference.request import ModelRequest, WindowRequest
from magms_nnunet.modalities import Modalities
from magms_nnunet.model.model_json import read_dataset_json, read_plans
from magms_nnunet.storage.files import sha256
from magms_nnunet.trust.advice import WEAK_BELOW

MADE, RESULTS = "made", "results"


@dataclass(frozen=True)
class PatientRequest:
    """The flags of ``magms_predict`` for one patient.

    Attributes:
        images: ``NAME=FILE``; empty for a study.
        study: folder of a DICOM study.
        series: ``NAME=UID``.
        modalities: that are wanted of the study; None: all that it has.
        output: file of the segmentation.
        dicom_seg: whether to write a DICOM-SEG.
        grid: that all images are resampled to, or None.
        register: whether to register the images rigidly first.
        keep_identifiers: whether the JSON names patient, study and series.
        finished: is called with the JSON of the result.
        work: empty folder for intermediate files, which are kept: the converted images in ``made``, the segmentation
            in ``results``; None: a temporary folder.
    """

    images: tuple[str, ...]
    output: Path
    model: ModelRequest
    window: WindowRequest
    checks: InputChecks
    previous_stage: Path | None
    save_probabilities: bool
    progress_bar: bool
    study: Path | None = None
    series: tuple[str, ...] = ()
    modalities: tuple[str, ...] | None = None
    dicom_seg: bool = False
    grid: str | None = None
    register: bool = False
    keep_identifiers: bool = False
    extras: Extras = NOTHING_MORE
    weak_below: float = WEAK_BELOW
    finished: Callable[[dict], object] = lambda report: None
    work: Path | None = None


def predict_patient(request: PatientRequest) -> dict[str, str]:
    """Predict one patient.

    Returns:
        Case -> message of a failure; empty: the result is written.

    Raises:
        InputError: nothing can be predicted; nothing has been written.
    """
    request.window.prepare_device()
    dataset_json, plans = read_dataset_json(request.model.folder()), read_plans(request.model.folder())
    modalities, ending = Modalities.from_dataset_json(dataset_json), dataset_json["file_ending"]
    extras = request.extras.of_model(dataset_json, len(request.model.existing_folds()))
    name, output_ending = split_name(request.output, ending, dicom_seg=request.dicom_seg)
    beside = request.save_probabilities, extras
    targets = target_files(request.output.parent, name, output_ending, ending, *beside)
    with TemporaryDirectory() if request.work is None else nullcontext(request.work) as folder:
        made, results, unfinished = (Path(folder) / part for part in (MADE, RESULTS, "unfinished"))
        for path in (made, results, unfinished):
            path.mkdir()
        given = _given(request, name, modalities, ending, made)
        series = None if given.grid_of is None else given.series.get(given.grid_of)
        if request.dicom_seg and series is None:
            raise InputError("a DICOM-SEG refers to the images of a series: give --grid a modality of the study")
        request.model.check(request.window, tuple(given.files), modalities)
        _check_not_given(request.output, targets, given)
        job = _checked(request, name, given, modalities, plans)
        check_targets(request.output, targets, name)
        model = request.model.load()
        if model.is_cascaded != (request.previous_stage is not None):
            need = "needs" if model.is_cascaded else "does not take"
            raise InputError(f"{model.configuration} {need} the previous stage's -prev_stage_predictions")
        predictor = request.window.predictor(model)
        predictor.check_subset(job.subset)
        reports: list[dict] = []
        failed = predict_folder(
            predictor,
            [job],
            Export(results, unfinished, request.save_probabilities, extras),
            weak_below=request.weak_below,
            finished=reports.append,
            progress_bar=request.progress_bar,
        )
        if failed:
            return failed
        report = reports[0] | _sources(given, job, modalities)
        publish_results(results, targets, report, series, dataset_json)
    request.finished(report)
    return {}


def _given(request: PatientRequest, name: str, modalities: Modalities, ending: str, folder: Path) -> GivenPatient:
    """Return the images, resampled to the grid if one is given."""
    if request.study is None:
        given = given_by_name(request.images, modalities, name, ending, folder)
    else:
        tokens = request.modalities
        given = given_by_study(
            request.study,
            request.series,
            None if tokens is None else modalities.parse(modalities.split(tokens)),
            modalities,
            ending,
            folder,
            registered=request.register,
            keep_identifiers=request.keep_identifiers,
        )
    if request.grid is None:
        return given
    return on_one_grid(given, request.grid, modalities, ending, folder, registered=request.register)


def _check_not_given(output: Path, targets: dict[str, Path], given: GivenPatient) -> None:
    """Raise InputError where a result would replace an image."""
    images = {file.resolve() for file in given.stamps}
    for path in targets.values():
        if path.resolve() in images:
            raise InputError(f"-o {output}: {path.name} is one of the images: choose another name")


def _checked(request: PatientRequest, name: str, given: GivenPatient, modalities: Modalities, plans: dict) -> Job:
    """Check the images, and return the patient as a job."""
    case = Case(name, given.files, labels=given.labels)
    of_model = {
        "volumes": request.model.reads_volumes(plans),
        "appearance": Appearance.from_plans(plans, len(modalities)),
    }
    try:
        checked = check_case(case, tuple(given.files), modalities, request.checks, **of_model)
    except CaseError as error:
        raise CaseError(name, error.message.replace(RESAMPLE, f"{RESAMPLE} with --grid")) from error
    if request.previous_stage is not None:
        check_previous_stage(case, checked.subset, request.previous_stage, request.checks)
    for text in checked.warnings:
        warnings.warn(f"{name}: {text}", InputWarning, stacklevel=2)
    done = checked.empty, checked.warnings, given.stamps
    return Job(case, checked.subset, request.previous_stage, request.checks, *done)


def _sources(given: GivenPatient, job: Job, modalities: Modalities) -> dict:
    """Return the part of the report on the given files, by modality; converted files are not listed."""
    report = given.report | {
        "files": {modalities.names[channel]: given.report["files"][modalities.names[channel]] for channel in job.subset}
    }
    if job.previous_stage is not None:
        report["files_sha256"] = report["files_sha256"] | {"previous stage": sha256(job.previous_stage)}
    return report
