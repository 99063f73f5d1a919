"""What stands in an output folder already: whose it is, and whether a run may go on from it or replace it."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from magms_nnunet.errors import CaseError, InputError
from magms_nnunet.images.checks import InputChecks
from magms_nnunet.inference.extras import NOTHING_MORE, Extras, older_extras
from magms_nnunet.inference.folder import model_files
from magms_nnunet.inference.job import Job, file_digests, file_names
from magms_nnunet.inference.predictor import Predictor
from magms_nnunet.modalities import Subset
from magms_nnunet.model.model import TrainedModel
from magms_nnunet.storage.files import report_full_disk
from magms_nnunet.storage.json_files import read_json, write_json
from magms_nnunet.storage.output_lock import writing

_IDENTITY = "identity.json"


def is_finished(name: str, output: Path, ending: str, save_probabilities: bool, extras: Extras = NOTHING_MORE) -> bool:
    """Whether a case has a result, and all that is wanted beside it."""
    wanted = (f"{name}{ending}", f"{name}.npz") if save_probabilities else (f"{name}{ending}",)
    return all((output / file).is_file() for file in (*wanted, *extras.files(name)))


def check_replaceable(name: str, output: Path, ending: str) -> None:
    """See that what a new result takes the place of is an older one of ours.

    Raises:
        CaseError: a file of that name is somebody else's.
    """
    report = output / f"{name}.json"
    files = [output / f"{name}{suffix}" for suffix in (ending, ".json", ".npz", ".pkl")]
    for path in files + older_extras(output, name):
        if path.exists() and not is_prediction_report(report):
            raise CaseError(
                name, f"{path} is no result of magms_predict: move it away, or choose another output folder"
            )


def check_model_files(model: TrainedModel, output: Path) -> None:
    """See that no dataset.json or plans.json of something else is replaced, such as a dataset's own.

    Raises:
        InputError: there is one, and no result of ours beside it.
    """
    for name, content in model_files(model).items():
        path = output / name
        ours = map(is_prediction_report, output.glob("*.json"))
        if path.exists() and _read_or_empty(path) != content and not any(ours):
            raise InputError(f"{path} is not this model's: choose another output folder, or move it away")


def is_prediction_report(report: Path) -> bool:
    """Whether a case's JSON was written by magms_predict."""
    return bool(read_report(report))


def read_report(path: Path) -> dict:
    """A case's JSON; empty where magms_predict has not written it."""
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
    """Compare a result that is there with what this run would write; ``subset``: None for any.

    A result whose files passed stricter checks is what this run would write, too.

    Raises:
        InputError: it is of another model, subset or setting, was accepted by checks that refuse less, or nothing
            says of which.
    """
    model = predictor.model
    result = output / f"{name}{model.dataset_json['file_ending']}"
    if not result.is_file():
        return
    report = _read_or_empty(output / f"{name}.json")
    try:
        asked_for = {*report["modalities_used"], *report.get("modalities_empty", ())}
        let_through = any(report["checks"][what] > allowed for what, allowed in asdict(checks).items())
        found = report["model"]["sha256"], asked_for, report["settings"], let_through
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
    """See that a result is of these files, not of another folder's with the same names.

    Raises:
        InputError: a file holds something else than then.
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
    """The jobs without a result yet, for ``--continue_prediction``.

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
    """See that the parts of a split that are running now do the same, before one of them has a result to compare.

    Args:
        identity: of what this run writes: model, modalities, settings.
        output: of all parts.
        unfinished: of this part, see :func:`magms_nnunet.storage.output_lock.locked_output`.

    Raises:
        InputError: another part does something else.
    """
    with report_full_disk(unfinished / _IDENTITY):
        write_json(unfinished / _IDENTITY, identity)
    for folder in writing(output):  # a killed part may have left one as well
        if folder != unfinished and (other := _read_or_empty(folder / _IDENTITY)) and other != identity:
            raise InputError(
                f"another part that is writing to {output} uses another model, other modalities, settings or checks: "
                "give all parts the same, or choose another output folder"
            )
