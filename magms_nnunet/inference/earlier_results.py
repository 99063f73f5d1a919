"""Checks of the results in an output folder: whether a run may continue them or replace them."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from magms_nnunet.errors import CaseError, InputError
from magms_nnunet.images.checks import InputChecks
from magms_nnunet.inference.export import model_files
from magms_nnunet.inference.extras import NOTHING_MORE, Extras, older_extras
from magms_nnunet.inference.job import Job, file_digests, file_names
from magms_nnunet.inference.predictor import Predictor
from magms_nnunet.modalities import Subset
from magms_nnunet.model.model import TrainedModel
from magms_nnunet.storage.files import report_full_disk
from magms_nnunet.storage.json_files import read_json, write_json
from magms_nnunet.storage.output_lock import writing

_IDENTITY = "identity.json"


def is_finished(name: str, output: Path, ending: str, save_probabilities: bool, extras: Extras = NOTHING_MORE) -> bool:
    """Return whether a case has its segmentation and all files that are wanted beside it.

    Args:
        name: of the case.
        output: folder of the results.
        ending: of the segmentation.
        save_probabilities: whether .npz files are wanted.
        extras: files that are wanted beside the segmentation.
    """
    wanted = (f"{name}{ending}", f"{name}.npz") if save_probabilities else (f"{name}{ending}",)
    return all((output / file).is_file() for file in (*wanted, *extras.files(name)))


def check_replaceable(name: str, output: Path, ending: str) -> None:
    """Check that the files of a new result replace an older result of magms_predict, and nothing else.

    Args:
        name: of the case.
        output: folder of the results.
        ending: of the segmentation.

    Raises:
        CaseError: magms_predict has not written a file of that name.
    """
    report = output / f"{name}.json"
    files = [output / f"{name}{suffix}" for suffix in (ending, ".json", ".npz", ".pkl")]
    for path in files + older_extras(output, name):
        if path.exists() and not is_prediction_report(report):
            raise CaseError(
                name, f"{path} is no result of magms_predict: move it away, or choose another output folder"
            )


def check_model_files(model: TrainedModel, output: Path) -> None:
    """Check that no other dataset.json or plans.json is replaced, such as that of a dataset.

    Raises:
        InputError: the folder has one, and no result of magms_predict beside it.
    """
    for name, content in model_files(model).items():
        path = output / name
        are_reports = map(is_prediction_report, output.glob("*.json"))
        if path.exists() and _read_or_empty(path) != content and not any(are_reports):
            raise InputError(f"{path} is not this model's: choose another output folder, or move it away")


def is_prediction_report(report: Path) -> bool:
    """Return whether magms_predict has written the JSON of a case."""
    return bool(read_report(report))


def read_report(path: Path) -> dict:
    """Return the JSON of a case; empty where magms_predict has not written it."""
    content = _read_or_empty(path)
    return content if "modalities_used" in content else {}


def _read_or_empty(path: Path) -> dict:
    """Return the JSON object in a file; an empty one if there is none."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def check_result(name: str, subset: Subset | None, output: Path, predictor: Predictor, checks: InputChecks) -> None:
    """Compare an existing result with the result that this run would write.

    A result whose files passed stricter checks counts as the same.

    Args:
        name: of the case.
        subset: the modalities of this run; None: any.
        output: folder of the results.
        predictor: of this run.
        checks: of this run.

    Raises:
        InputError: the result is of another model, subset or setting, was accepted by more tolerant checks, or lacks a
            record of these.
    """
    model = predictor.model
    result = output / f"{name}{model.dataset_json['file_ending']}"
    if not result.is_file():
        return
    report = _read_or_empty(output / f"{name}.json")
    try:
        asked_for = {*report["modalities_used"], *report.get("modalities_empty", ())}
        more_tolerant = any(report["checks"][what] > allowed for what, allowed in asdict(checks).items())
        found = report["model"]["sha256"], asked_for, report["settings"], more_tolerant
    except (KeyError, TypeError):
        found = None
    now = "" if subset is None else f" ({model.modalities.format(subset)})"
    names = found and found[1] if subset is None else {model.modalities.names[channel] for channel in subset}
    if found != (model.fingerprint, names, predictor.settings, False):
        raise InputError(
            f"{name}: {result} was predicted by another model, from other modalities or with other settings or checks "
            f"than now{now}: choose another output folder or remove it"
        )


def check_same_files(job: Job, output: Path, ending: str) -> None:
    """Check that a result was made from these files, and not from files of the same names in another folder.

    Args:
        job: the case and its files.
        output: folder of the results.
        ending: of the segmentation.

    Raises:
        InputError: a file has another content than the one that the result was made from, or cannot be read.
    """
    then = _read_or_empty(output / f"{job.case.name}.json").get("files_sha256")
    try:
        now = file_digests(job)
    except OSError as error:
        raise InputError(
            f"{job.case.name}: {error.filename} cannot be read ({error.strerror}): copy it again"
        ) from error
    for path, name in file_names(job).items():
        if not isinstance(then, dict) or then.get(name) != now[name]:
            raise InputError(
                f"{job.case.name}: {output / job.case.name}{ending} was predicted from another {path.name} than "
                f"{path}: remove it to have it made again, or choose another output folder"
            )


def drop_finished(
    jobs: Sequence[Job],
    output: Path,
    predictor: Predictor,
    save_probabilities: bool,
    extras: Extras = NOTHING_MORE,
) -> list[Job]:
    """Return the jobs without a result, for ``--continue_prediction``.

    Args:
        jobs: of this run.
        output: folder of the results.
        predictor: of this run.
        save_probabilities: whether .npz files are wanted.
        extras: files that are wanted beside the segmentation.

    Raises:
        InputError: see :func:`check_result` and :func:`check_same_files`.
    """
    todo, ending = [], predictor.model.dataset_json["file_ending"]
    for job in jobs:
        if is_finished(job.case.name, output, ending, save_probabilities, extras):
            check_result(job.case.name, job.subset, output, predictor, job.checks)
            check_same_files(job, output, ending)
        else:
            todo.append(job)
    return todo


def check_parts(identity: dict, output: Path, unfinished: Path) -> None:
    """Check that the running parts of a split have the same settings, before results can be compared.

    Args:
        identity: of this run: model, modalities, settings.
        output: of all parts.
        unfinished: of this part, see :func:`magms_nnunet.storage.output_lock.locked_output`.

    Raises:
        InputError: another part has other settings.
    """
    with report_full_disk(unfinished / _IDENTITY):
        write_json(unfinished / _IDENTITY, identity)
    for folder in writing(output):  # a killed part may have left a folder, too
        if folder != unfinished and (other := _read_or_empty(folder / _IDENTITY)) and other != identity:
            raise InputError(
                f"another part that is writing to {output} uses another model, other modalities, settings or checks: "
                "give all parts the same, or choose another output folder"
            )
