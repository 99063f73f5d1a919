"""``magms_evaluate``: scores every subset of every case, and encodes the voxels of a case once."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from magms_nnunet.errors import InputError
from magms_nnunet.evaluation import folder as evaluation
from magms_nnunet.evaluation.case_files import check_scored_files
from magms_nnunet.evaluation.labelled_cases import LabelledCase, scored_cases
from magms_nnunet.evaluation.request import (
    MASKED,
    EvaluationRequest,
    check_previous_stage_folder,
    find_labelled_cases,
    parse_subsets,
)
from magms_nnunet.evaluation.residuals import read_residuals
from magms_nnunet.evaluation.score_cases import files_read, score_cases
from magms_nnunet.evaluation.training_cost import training_cost
from magms_nnunet.inference.predictor import Predictor
from magms_nnunet.inference.request import check_output
from magms_nnunet.metrics.dice import regions_from_dataset_json
from magms_nnunet.metrics.scores import interval_of_mean
from magms_nnunet.modalities import Modalities, Subset
from magms_nnunet.model.expected import attach
from magms_nnunet.model.model_json import read_dataset_json, read_plans
from magms_nnunet.nnunet.version import installed_versions
from magms_nnunet.storage.output_lock import locked_output


def evaluate(request: EvaluationRequest) -> tuple[dict | None, dict[str, str]]:
    """Score a model on all subsets of its modalities, and continue an interrupted run.

    Returns:
        The summary of the finished cases (None: there are none), and case -> message of those that failed.

    Raises:
        InputError: nothing can be scored; nothing has been written.
    """
    request.window.prepare_device()
    if request.attach and request.parts > 1:
        raise InputError("--attach needs all cases and this is a part of them: use it with --merge")
    folder = request.model.folder()
    dataset_json = read_dataset_json(folder)
    modalities = Modalities.from_dataset_json(dataset_json)
    subsets = parse_subsets(request.subsets, modalities)
    request.model.check(request.window, min(subsets, key=len) if subsets else None, modalities)
    cases = find_labelled_cases(request, dataset_json, modalities, read_plans(folder)["dataset_name"])
    evaluation.check_case_names([labelled.case.name for labelled in cases])
    check_output(request.output, request.images)
    with locked_output(request.output):
        return _evaluate(request, folder, cases, subsets)


def _evaluate(
    request: EvaluationRequest, folder: Path, cases: Sequence[LabelledCase], subsets: Sequence[Subset] | None
) -> tuple[dict | None, dict[str, str]]:
    """Score these cases with the model of ``folder``."""
    model = request.model.load()
    modalities, predictor = model.modalities, request.window.predictor(model)
    if subsets is None:
        all_subsets = model.takes_subsets or predictor.fill
        subsets = modalities.subsets() if all_subsets else [modalities.complete]
        subsets = [subset for subset in subsets if any(labelled.has([subset]) for labelled in cases)] or subsets
    for subset in subsets:
        predictor.check_subset(subset)
    if request.protocol == MASKED and model.is_cascaded:
        raise InputError(f"{model.configuration} is a cascade: evaluate it with --protocol absent")
    check_previous_stage_folder(model, request.previous_stage, subsets)
    run = _run(request, predictor, subsets, cases)
    cases = scored_cases(cases, subsets, modalities)
    evaluation.begin(request.output, run | {"all_cases": [labelled.case.name for labelled in cases]})
    own_cases = cases[request.part :: request.parts]
    todo = [labelled for labelled in own_cases if not _is_done(request, labelled, subsets, predictor)]
    failed = score_cases(request, predictor, todo, subsets)
    if not evaluation.finished_cases(request.output, [labelled.case.name for labelled in own_cases]):
        if own_cases and not failed:
            raise RuntimeError(f"none of {len(own_cases)} cases was scored, and none failed")
        return None, failed
    summary = evaluation.complete(request.output)
    if request.attach and not failed:
        attach_summary(folder, request.output, summary)
    return summary, failed


def attach_summary(model: Path, folder: Path, summary: dict) -> Path:
    """Keep the mean Dice of every subset beside the model, for ``magms_predict`` to quote.

    Args:
        model: folder of the model.
        folder: of the evaluation.
        summary: content of its summary.json.

    Returns:
        The file that was written.

    Raises:
        InputError: the evaluation has only a part of its cases, or is of another model.
    """
    run = evaluation.read_run(folder)
    if run["cases"] != run["all_cases"]:
        done, planned = len(run["cases"]), len(run["all_cases"])
        raise InputError(f"{folder} has {done} of {planned} cases: --attach needs all, merge the parts first")
    if run["model"]["name"] != model.name:
        raise InputError(f"{folder} is an evaluation of {run['model']['name']}, not of {model.name}")
    residuals = read_residuals(folder)
    subsets = {subset: _kept(scores, residuals.get(subset, {})) for subset, scores in summary["subsets"].items()}
    about = {
        "sha256": run["model"]["sha256"],
        "fill": run["fill"],
        "protocol": run["protocol"],
        "dataset": run.get("images") or run["model"]["dataset"],
        "cases": summary["cases"],
    }
    return attach(model, about | {"subsets": subsets})


def _kept(scores: dict, residuals: dict[str, list[float]]) -> dict:
    """Return the part of a subset's summary that is kept beside the model."""
    dice = scores["mean"]["dice"]
    return {
        "cases": scores["cases"],
        "mean": dice["mean"],
        "regions": {region: of_region["dice"]["mean"] for region, of_region in scores["regions"].items()},
        "sd": dice["sd"],
        "mean_interval_95": interval_of_mean(dice),
        "residuals": residuals,
    }


def _location(folder: Path | None) -> str | None:
    """Return a hash of a folder's path, which distinguishes folders of one name without giving the path."""
    return None if folder is None else hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()


def _run(
    request: EvaluationRequest, predictor: Predictor, subsets: Sequence[Subset], cases: Sequence[LabelledCase]
) -> dict:
    """Return the content of run.json before the first case, except the names of the scored cases."""
    model = predictor.model
    lacks = {one.case.name: [m for m in model.modalities.complete if m not in one.case.files] for one in cases}
    absent = {case: [model.modalities.names[m] for m in channels] for case, channels in lacks.items() if channels}
    folders = {"images": request.images, "labels": request.labels, "previous_stage": request.previous_stage}
    return {
        "model": {
            "name": model.folder.name,
            "dataset": model.plans["dataset_name"],
            "trainer": model.trainer,
            "plans": model.plans["plans_name"],
            "configuration": model.configuration,
            "folds": [str(fold) for fold in model.folds],
            "checkpoint": model.checkpoint,
            "sha256": model.fingerprint,
        },
        "protocol": request.protocol,
        "fill": predictor.fill,
        "settings": predictor.settings,
        "checks": asdict(request.checks),
        "modalities": list(model.modalities.names),
        "regions": {name: list(values) for name, values in regions_from_dataset_json(model.dataset_json).items()},
        "subsets": [model.modalities.format(subset) for subset in subsets],
        "absent_modalities": absent or None,
        **{name: None if folder is None else folder.resolve().name for name, folder in folders.items()},
        "folders_sha256": {name: _location(folder) for name, folder in folders.items()},
        "part": [request.part, request.parts],
        "cases": [],
        "training": training_cost(model.epoch_seconds, len(model.modalities)),
        "versions": installed_versions(),
        "command": request.command,
    }


def _is_done(
    request: EvaluationRequest, labelled: LabelledCase, subsets: Sequence[Subset], predictor: Predictor
) -> bool:
    """Return whether a case has its scores, and its segmentations where they are wanted.

    Raises:
        InputError: the case was scored with other files.
    """
    name, folder = labelled.case.name, request.output / evaluation.SEGMENTATIONS
    file = f"{name}{predictor.model.dataset_json['file_ending']}"
    wanted = labelled.has(subsets) if request.save_segmentations else []
    if not evaluation.finished_cases(request.output, [name]):
        return False
    files = files_read(request, labelled, subsets, predictor.model)
    scores = evaluation.case_file(request.output, name)
    check_scored_files(name, evaluation.files_sha256(request.output, name), files, scores)
    return all((folder / predictor.modalities.format(subset) / file).is_file() for subset in wanted)
