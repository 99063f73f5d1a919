"""What ``magms_evaluate`` does: every subset of every case scored, each case's voxels encoded once."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from magms_nnunet.appearance import Appearance
from magms_nnunet.checks import InputChecks, check_previous_stage
from magms_nnunet.errors import CaseError, InputError
from magms_nnunet.evaluation import folder as evaluation
from magms_nnunet.evaluation.dice import regions_from_dataset_json
from magms_nnunet.evaluation.labelled_cases import (
    LabelledCase,
    cases_of_folders,
    check_available,
    check_labelled_files,
    validation_cases,
)
from magms_nnunet.evaluation.score_logits import SubsetScores, score_logits, slice_of_images
from magms_nnunet.evaluation.training_cost import training_cost
from magms_nnunet.inference.earlier_results import check_older
from magms_nnunet.inference.expected import attach
from magms_nnunet.inference.failures import Failures
from magms_nnunet.inference.folder import Job, preprocessed_ahead
from magms_nnunet.inference.model import TrainedModel
from magms_nnunet.inference.model_json import read_dataset_json, read_plans
from magms_nnunet.inference.predictor import Predictor
from magms_nnunet.inference.request import ModelRequest, WindowRequest, check_output, is_3d
from magms_nnunet.inference.workers import workers
from magms_nnunet.modalities import Modalities, Subset
from magms_nnunet.nnunet_version import warn_of_untested_nnunet
from magms_nnunet.output_lock import locked_output

MASKED, ABSENT = "masked", "absent"
_BYTES_A_TASK = 1 << 30  # of logits that are handed to a process at a time


@dataclass(frozen=True)
class EvaluationRequest:
    """The flags of ``magms_evaluate``; images and labels are given together or not at all."""

    output: Path
    model: ModelRequest
    window: WindowRequest
    images: Path | None
    labels: Path | None
    subsets: tuple[str, ...] | None
    checks: InputChecks
    protocol: str
    previous_stage: Path | None
    save_segmentations: bool
    attach: bool
    preprocessing_processes: int
    export_processes: int
    part: int
    parts: int
    progress_bar: bool
    command: str


def evaluate(request: EvaluationRequest) -> tuple[dict | None, dict[str, str]]:
    """Score a model on all subsets of its modalities, going on where an earlier run stopped.

    Returns:
        The summary of the cases that are done (None: there is none), and case -> message of those that failed.

    Raises:
        InputError: nothing can be scored; nothing has been written.
    """
    request.window.check_device()
    warn_of_untested_nnunet()
    if request.attach and request.parts > 1:
        raise InputError("--attach needs all cases and this is a part of them: use it with --merge")
    folder = request.model.folder()
    dataset_json = read_dataset_json(folder)
    modalities = Modalities.from_dataset_json(dataset_json)
    subsets = _parse_subsets(request.subsets, modalities)
    cases = _cases(request, dataset_json, modalities, read_plans(folder)["dataset_name"])
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
    for subset in subsets:
        predictor.check_subset(subset)
    if request.protocol == MASKED:
        needed = modalities.complete
        if model.is_cascaded:
            raise InputError(f"{model.configuration} is a cascade: evaluate it with --protocol absent")
    else:
        needed = _union(subsets)
    _check_previous_stage(model, request.previous_stage, subsets)
    check_available(cases, needed, modalities)
    evaluation.begin(request.output, _run(request, predictor, subsets, cases))
    mine = cases[request.part :: request.parts]
    todo = [labelled for labelled in mine if not _is_done(request, labelled, subsets, predictor)]
    failed = _score(request, predictor, todo, subsets)
    if not evaluation.finished_cases(request.output, [labelled.case.name for labelled in mine]):
        if mine and not failed:
            raise RuntimeError(f"none of {len(mine)} cases was scored, and none failed")
        return None, failed
    summary = evaluation.complete(request.output)
    if request.attach and not failed:
        attach_summary(folder, request.output, summary)
    return summary, failed


def attach_summary(model: Path, folder: Path, summary: dict) -> Path:
    """Keep the mean Dice of every subset beside the model, for ``magms_predict`` to quote.

    Raises:
        InputError: the evaluation has only a part of its cases, or is not of this model.
    """
    run = evaluation.read_run(folder)
    if run["cases"] != run["all_cases"]:
        done, planned = len(run["cases"]), len(run["all_cases"])
        raise InputError(f"{folder} has {done} of {planned} cases: --attach needs all, merge the parts first")
    if run["model"]["name"] != model.name:
        raise InputError(f"{folder} is an evaluation of {run['model']['name']}, not of {model.name}")
    subsets = {
        subset: {
            "mean": scores["mean"]["dice"]["mean"],
            "regions": {region: of_region["dice"]["mean"] for region, of_region in scores["regions"].items()},
        }
        for subset, scores in summary["subsets"].items()
    }
    about = {
        "sha256": run["model"]["sha256"],
        "fill": run["fill"],
        "protocol": run["protocol"],
        "dataset": run["images"] or run["model"]["dataset"],
        "cases": summary["cases"],
    }
    return attach(model, about | {"subsets": subsets})


def _check_previous_stage(model: TrainedModel, folder: Path | None, subsets: Sequence[Subset]) -> None:
    if not model.is_cascaded:
        if folder is not None:
            raise InputError(f"{model.configuration} has no previous stage: leave out -prev_stage_predictions")
        return
    if folder is None:
        raise InputError(
            f"{model.configuration} is a cascade: evaluate its previous stage with --save_segmentations, and give its "
            "segmentations folder as -prev_stage_predictions"
        )
    names = map(model.modalities.format, subsets)
    if missing := [name for name in names if not (folder / name).is_dir()]:
        raise InputError(
            f"-prev_stage_predictions {folder} has no folder {', '.join(missing)}: give the segmentations folder that "
            "magms_evaluate --save_segmentations made of the previous stage"
        )


def _union(subsets: Sequence[Subset]) -> Subset:
    return tuple(sorted({m for subset in subsets for m in subset}))


def _parse_subsets(tokens: Sequence[str] | None, modalities: Modalities) -> list[Subset] | None:
    if tokens is None:
        return None
    chosen = {modalities.parse(token.split("+")) for token in tokens}
    return [subset for subset in modalities.subsets() if subset in chosen]


def _cases(request: EvaluationRequest, dataset_json: dict, modalities: Modalities, dataset: str) -> list[LabelledCase]:
    if request.images is not None:
        return cases_of_folders(request.images, request.labels, dataset_json["file_ending"], modalities)
    if len(request.model.folds) != 1:
        raise InputError("each fold validates on cases of its own: give one -f, or -i and -l")
    return validation_cases(dataset, request.model.folds[0], modalities)


def _absolute(folder: Path | None) -> str | None:
    return None if folder is None else str(folder.resolve())


def _run(
    request: EvaluationRequest, predictor: Predictor, subsets: Sequence[Subset], cases: Sequence[LabelledCase]
) -> dict:
    """Content of run.json before the first case."""
    model = predictor.model
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
        "modalities": list(model.modalities.names),
        "regions": {name: list(values) for name, values in regions_from_dataset_json(model.dataset_json).items()},
        "subsets": [model.modalities.format(subset) for subset in subsets],
        "all_cases": [labelled.case.name for labelled in cases],
        "images": _absolute(request.images),
        "labels": _absolute(request.labels),
        "previous_stage": _absolute(request.previous_stage),
        "part": [request.part, request.parts],
        "cases": [],
        "training": training_cost(model.folder, model.folds, len(model.modalities)),
        "versions": {package: version(package) for package in ("magms_nnunet", "nnunetv2", "torch")},
        "command": request.command,
    }


def _is_done(
    request: EvaluationRequest, labelled: LabelledCase, subsets: Sequence[Subset], predictor: Predictor
) -> bool:
    """Whether a case has been scored, and its segmentations are there where they are wanted.

    Raises:
        InputError: it has been, with files that have changed since.
    """
    name, folder = labelled.case.name, request.output / evaluation.SEGMENTATIONS
    file = f"{name}{predictor.model.dataset_json['file_ending']}"
    wanted = subsets if request.save_segmentations else []
    if not evaluation.finished_cases(request.output, [name]):
        return False
    images = [path for channel, path in labelled.case.files.items() if channel in _union(subsets)]
    check_older(name, [*images, labelled.reference], evaluation.case_file(request.output, name))
    return all((folder / predictor.modalities.format(subset) / file).is_file() for subset in wanted)


def _score(
    request: EvaluationRequest, predictor: Predictor, cases: Sequence[LabelledCase], subsets: Sequence[Subset]
) -> dict[str, str]:
    """Predict and score what is not done yet; case -> message of those that failed."""
    model = predictor.model
    names, shown = [model.modalities.format(subset) for subset in subsets], _union(subsets)
    labelled_cases = {labelled.case.name: labelled for labelled in cases}
    failures = Failures(request.progress_bar)
    failed = failures.messages
    jobs = []
    for labelled in tqdm(cases, "checking files", unit="case", leave=False, disable=not request.progress_bar):
        try:
            jobs += _jobs(request, labelled, subsets, model)
        except CaseError as error:
            failures.note(labelled.case.name, error)
    scores: dict[str, dict[str, SubsetScores]] = {name: {} for name in labelled_cases}
    images: dict[str, Future] = {}
    waiting: deque[tuple[str, Future]] = deque()
    context = model.plans, model.configuration, model.dataset_json
    segmentations = request.output / evaluation.SEGMENTATIONS if request.save_segmentations else None
    bar = tqdm(total=len(cases) * len(subsets), unit="subset", disable=not request.progress_bar)

    def finish_one() -> None:
        name, future = waiting.popleft()
        if name in failed:
            return
        try:
            result = future.result()
            scores[name] |= result
            bar.update(len(result))
            if len(scores[name]) == len(subsets):
                evaluation.save_case(request.output, name, scores.pop(name), names, images.pop(name).result())
        except Exception as error:  # a case must not take the others with it
            failures.note(name, error)

    with workers(request.preprocessing_processes) as preprocessing, workers(request.export_processes) as scoring:
        for job, future in preprocessed_ahead(
            preprocessing, jobs, model, request.preprocessing_processes + 1, failures
        ):
            name = job.case.name
            if name in failed:
                continue
            bar.set_postfix_str(name)
            labelled = labelled_cases[name]
            if name not in images:
                image = scoring.submit(slice_of_images, labelled, shown, model.plans, model.dataset_json)
                images[name] = failures.watch(name, image)
            try:
                data, properties = future.result()
                for predictions in _predictions(predictor, torch.from_numpy(data), job, subsets, request.protocol):
                    task = (labelled, predictions, properties, *context, segmentations)
                    waiting.append((name, failures.watch(name, scoring.submit(score_logits, *task))))
                    while len(waiting) > request.export_processes:
                        finish_one()
            except Exception as error:
                failures.note(name, error)
        while waiting:
            finish_one()
    bar.close()
    return failed


def _jobs(
    request: EvaluationRequest, labelled: LabelledCase, subsets: Sequence[Subset], model: TrainedModel
) -> list[Job]:
    """What to preprocess of a case: it as a whole, or as if each subset were all that there is."""
    case, modalities = labelled.case, model.modalities
    checked = modalities.complete if request.protocol == MASKED else _union(subsets)
    check_labelled_files(
        labelled,
        checked,
        modalities,
        request.checks,
        volumes=is_3d(model.plans, model.configuration),
        appearance=Appearance.from_plans(model.plans, len(modalities)),
    )
    if request.protocol == MASKED:
        return [Job(case, modalities.complete, checks=request.checks)]
    jobs = []
    for subset in subsets:
        previous = None
        if request.previous_stage is not None:
            file = f"{case.name}{model.dataset_json['file_ending']}"
            previous = request.previous_stage / modalities.format(subset) / file
            if not previous.is_file():
                raise CaseError(case.name, f"no {file} in {previous.parent}: evaluate the previous stage first")
            check_previous_stage(case, subset, previous, request.checks)
        jobs.append(Job(case, subset, previous, request.checks))
    return jobs


def _predictions(
    predictor: Predictor, data: torch.Tensor, job: Job, subsets: Sequence[Subset], protocol: str
) -> Iterator[list[tuple[str, np.ndarray]]]:
    """Subset and logits, in lists that are small enough to be handed to another process."""
    if protocol == MASKED:
        logits_of_subsets = predictor.sweep_logits(data, subsets)
    else:
        logits_of_subsets = iter([(job.subset, predictor.predict_logits(data, job.subset))])
    together: list[tuple[str, np.ndarray]] = []
    for subset, logits in logits_of_subsets:
        together.append((predictor.modalities.format(subset), logits.numpy()))
        if sum(array.nbytes for _, array in together) > _BYTES_A_TASK:
            yield together
            together = []
    if together:
        yield together
