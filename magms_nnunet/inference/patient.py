"""``magms_predict --image``: one patient from named files, one segmentation with its JSON beside it."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory

import SimpleITK as sitk

from magms_nnunet.errors import InputError, InputWarning
from magms_nnunet.images.appearance import Appearance
from magms_nnunet.images.cases import Case, check_result_name
from magms_nnunet.images.checks import InputChecks, check_case, check_previous_stage
from magms_nnunet.images.named_files import convert, is_read_as_it_is, labels_of, parse_named
from magms_nnunet.inference.earlier_results import is_prediction_report
from magms_nnunet.inference.extras import NOTHING_MORE, PREVIEWS, UNCERTAINTY, Extras
from magms_nnunet.inference.folder import predict_folder
from magms_nnunet.inference.job import Job, file_stamps
from magms_nnunet.inference.request import ModelRequest, WindowRequest
from magms_nnunet.modalities import Modalities
from magms_nnunet.model.model_json import read_dataset_json, read_plans
from magms_nnunet.storage.files import check_writable, reserved_name, sha256, write_then_rename
from magms_nnunet.storage.json_files import replace_json
from magms_nnunet.storage.written_image import check_written
from magms_nnunet.trust.advice import WEAK_BELOW

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
"""Of a segmentation that ``-o`` names, besides the model's own."""


@dataclass(frozen=True)
class PatientRequest:
    """The flags of ``magms_predict`` for one patient; ``images`` are ``NAME=FILE``, ``output`` is a file."""

    images: tuple[str, ...]
    output: Path
    model: ModelRequest
    window: WindowRequest
    checks: InputChecks
    previous_stage: Path | None
    save_probabilities: bool
    progress_bar: bool
    extras: Extras = NOTHING_MORE
    weak_below: float = WEAK_BELOW
    finished: Callable[[dict], object] = lambda report: None


def predict_patient(request: PatientRequest) -> dict[str, str]:
    """Predict one patient.

    Returns:
        Case -> message if it failed on the way; empty: the result is written.

    Raises:
        InputError: nothing can be predicted; nothing has been written.
    """
    request.window.prepare_device()
    dataset_json, plans = read_dataset_json(request.model.folder()), read_plans(request.model.folder())
    modalities, ending = Modalities.from_dataset_json(dataset_json), dataset_json["file_ending"]
    files = parse_named(request.images, modalities)
    request.model.check(request.window, tuple(files), modalities)
    request.extras.check(ending)
    name, output_ending = _split(request.output, ending)
    targets = _targets(request, name, output_ending, ending)
    _check_output(request.output, targets, files, name)
    with TemporaryDirectory() as folder:
        converted, results, unfinished = (Path(folder) / part for part in ("converted", "results", "unfinished"))
        for path in (converted, results, unfinished):
            path.mkdir()
        job = _checked(request, name, files, modalities, plans, ending, converted)
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
            results,
            unfinished,
            save_probabilities=request.save_probabilities,
            extras=request.extras,
            weak_below=request.weak_below,
            finished=reports.append,
            progress_bar=request.progress_bar,
        )
        if failed:
            return failed
        report = reports[0] | _sources(files, job, modalities)
        _publish(results, ending, targets, report)
    request.finished(report)
    return {}


def _split(output: Path, file_ending: str) -> tuple[str, str]:
    """Name and ending of the segmentation that is asked for.

    Raises:
        InputError: it has no ending that can be written.
    """
    ending = next((end for end in (file_ending, *ENDINGS) if output.name.endswith(end) and output.name != end), None)
    if ending is None or output.is_dir():
        known = ", ".join(sorted({file_ending, *ENDINGS}))
        raise InputError(f"-o {output}: with --image, name the segmentation's file, ending in {known}")
    name = output.name.removesuffix(ending)
    if reason := reserved_name(name):
        raise InputError(f"-o {output} {reason}")
    check_result_name(Case(name, {}), file_ending)
    return name, ending


def _targets(request: PatientRequest, name: str, ending: str, file_ending: str) -> dict[str, Path]:
    """What is written: file among the results of a folder -> final path. The segmentation comes last."""
    folder = request.output.parent
    targets = {f"{name}.json": folder / f"{name}.json"}
    if request.save_probabilities:
        targets |= {f"{name}{suffix}": folder / f"{name}{suffix}" for suffix in (".npz", ".pkl")}
    if request.extras.uncertainty:
        targets[f"{UNCERTAINTY}/{name}.nii.gz"] = folder / f"{name}_uncertainty.nii.gz"
    if request.extras.preview:
        targets[f"{PREVIEWS}/{name}.png"] = folder / f"{name}.png"
    return targets | {f"{name}{file_ending}": folder / f"{name}{ending}"}


def _check_output(output: Path, targets: dict[str, Path], files: dict[int, Path], name: str) -> None:
    """See that the files can be written and take nobody's place.

    Raises:
        InputError: not so.
    """
    check_writable(output.parent)
    given = {file.resolve() for file in files.values()}
    ours = is_prediction_report(output.parent / f"{name}.json")
    for path in targets.values():
        if path.resolve() in given:
            raise InputError(f"-o {output}: {path.name} is one of the images: choose another name")
        if path.exists() and not ours:
            raise InputError(f"-o {output}: {path} is no result of magms_predict: move it away, or choose another name")


def _checked(
    request: PatientRequest,
    name: str,
    files: dict[int, Path],
    modalities: Modalities,
    plans: dict,
    ending: str,
    converted: Path,
) -> Job:
    """The patient as a case whose files the model reads."""
    stamps = file_stamps([*files.values()])
    labels = labels_of(files, modalities)
    read = {
        channel: file
        if is_read_as_it_is(file, ending)
        else convert(file, converted / f"image_{channel:04d}{ending}", name, labels[channel])
        for channel, file in files.items()
    }
    case = Case(name, read, labels=labels)
    checked = check_case(
        case,
        tuple(files),
        modalities,
        request.checks,
        volumes=request.model.reads_volumes(plans),
        appearance=Appearance.from_plans(plans, len(modalities)),
    )
    if request.previous_stage is not None:
        check_previous_stage(case, checked.subset, request.previous_stage, request.checks)
    for text in checked.warnings:
        warnings.warn(f"{name}: {text}", InputWarning, stacklevel=2)
    return Job(case, checked.subset, request.previous_stage, request.checks, checked.empty, checked.warnings, stamps)


def _sources(files: dict[int, Path], job: Job, modalities: Modalities) -> dict:
    """The part of the report on files: those that were given, by modality, not what they were converted to."""
    given = {modalities.names[channel]: files[channel] for channel in (*job.subset, *job.empty)}
    previous = {} if job.previous_stage is None else {"previous stage": job.previous_stage}
    return {
        "files": {modalities.names[channel]: files[channel].name for channel in job.subset},
        "files_sha256": {name: sha256(path) for name, path in (given | previous).items()},
    }


def _publish(results: Path, ending: str, targets: dict[str, Path], report: dict) -> None:
    """Give the results their names, each complete, the segmentation last; older ones of these names go."""
    for path in targets.values():
        path.unlink(missing_ok=True)
    *beside, (segmentation, final) = targets.items()
    for result, path in beside:
        if path.suffix == ".json":
            replace_json(path, report)
        else:
            write_then_rename(path, partial(copyfile, results / result))
    source, same = results / segmentation, final.name.endswith(ending)
    write_then_rename(final, partial(copyfile if same else _convert, source))
    check_written(final)


def _convert(source: Path, target: str) -> None:
    sitk.WriteImage(sitk.ReadImage(str(source)), target, useCompression=True)
