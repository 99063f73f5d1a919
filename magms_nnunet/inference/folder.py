"""Predicts the cases of a folder: preprocessing, network and export side by side, one failure not stopping the rest."""

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from nnunetv2.inference.export_prediction import export_prediction_from_logits
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from tqdm import tqdm

from magms_nnunet.cases import Case
from magms_nnunet.checks import STRICT, InputChecks
from magms_nnunet.errors import InputError
from magms_nnunet.files import full_disk_is_said, publish
from magms_nnunet.inference.expected import expected_dice
from magms_nnunet.inference.failures import Failures
from magms_nnunet.inference.model import TrainedModel
from magms_nnunet.inference.predictor import Predictor
from magms_nnunet.inference.workers import workers
from magms_nnunet.inference.written_image import check_written
from magms_nnunet.modalities import Subset
from magms_nnunet.nnunet_version import untested_nnunet_warnings
from magms_nnunet.preprocessing.subset import preprocess_case


@dataclass(frozen=True)
class Job:
    """What to predict, and what is known of it.

    Attributes:
        case: with its files.
        subset: the modalities to predict it from.
        previous_stage: for a cascade, the previous stage's segmentation.
        checks: what is let through.
        empty: modalities that hold nothing, and are left out.
        warnings: on the case's files.
    """

    case: Case
    subset: Subset
    previous_stage: Path | None = None
    checks: InputChecks = STRICT
    empty: Subset = ()
    warnings: tuple[str, ...] = ()


def predict_folder(
    predictor: Predictor,
    jobs: Sequence[Job],
    output: Path,
    unfinished: Path,
    *,
    save_probabilities: bool = False,
    preprocessing_processes: int = 3,
    export_processes: int = 3,
    progress_bar: bool = True,
) -> dict[str, str]:
    """Write ``CASE.ending`` and ``CASE.json`` for every job; with probabilities also nnU-Net's .npz and .pkl.

    A file stands under its final name only when it is complete, the segmentation last.

    Args:
        predictor: with the model.
        jobs: one per case.
        output: existing folder.
        unfinished: folder on the same file system, see :func:`magms_nnunet.output_lock.locked_output`.
        save_probabilities: as nnU-Net does.
        preprocessing_processes: 0 or a single job: no processes are started; the same for ``export_processes``.
        progress_bar: over the cases.

    Returns:
        Case -> message, of those that failed.
    """
    model = predictor.model
    failures = Failures(progress_bar)

    def attempt(job: Job, step: Callable):
        try:
            return step()
        except Exception as error:  # a case must not take the others with it
            failures.note(job.case.name, error)
        return None

    single = len(jobs) == 1
    bar = tqdm(total=len(jobs), unit="case", disable=not progress_bar)
    with (
        workers(0 if single else preprocessing_processes) as preprocessing,
        workers(0 if single else export_processes) as export,
    ):
        # nnU-Net's ensembling and postprocessing look for them here; other parts may be writing the same just now
        for name, content in (("dataset.json", model.dataset_json), ("plans.json", model.plans)):
            with full_disk_is_said(output / name):
                _write_json(unfinished / name, content)
                publish(unfinished / name, output / name)
        exports: deque[tuple[Job, Future]] = deque()

        def finish_one():
            job, future = exports.popleft()
            attempt(job, future.result)
            bar.update()

        for job, future in preprocessed_ahead(preprocessing, jobs, model, preprocessing_processes + 1, failures):
            bar.set_postfix_str(f"{job.case.name} from {model.modalities.format(job.subset)}")
            preprocessed = attempt(job, future.result)
            logits = None if preprocessed is None else attempt(job, partial(_logits, predictor, job, preprocessed[0]))
            if logits is None:
                bar.update()
                continue
            arguments = (logits, preprocessed[1], model.plans, model.configuration, model.dataset_json)
            where = (output, unfinished, job.case.name)
            report = _report(job, predictor)
            future = export.submit(_export, *arguments, *where, report, save_probabilities)
            exports.append((job, failures.watch(job.case.name, future)))
            del preprocessed, logits, arguments  # the next case needs the memory
            while len(exports) > export_processes + 1:
                finish_one()
        while exports:
            finish_one()
    bar.close()
    return failures.messages


def _logits(predictor: Predictor, job: Job, data: np.ndarray) -> np.ndarray:
    return predictor.predict_logits(torch.from_numpy(data), job.subset).numpy()


def preprocessed_ahead(
    executor: Executor, jobs: Sequence[Job], model: TrainedModel, depth: int, failures: Failures
) -> Iterator[tuple[Job, Future]]:
    """Preprocess at most ``depth`` cases ahead of the network, so that memory stays bounded."""
    waiting: deque[tuple[Job, Future]] = deque()
    todo = iter(jobs)
    while True:
        while len(waiting) < depth and (job := next(todo, None)) is not None:
            previous = None if job.previous_stage is None else str(job.previous_stage)
            of_model = (model.plans, model.configuration, model.dataset_json)
            arguments = (job.case, job.subset, *of_model, previous, job.checks)
            waiting.append((job, failures.watch(job.case.name, executor.submit(preprocess_case, *arguments))))
        if not waiting:
            return
        yield waiting.popleft()


def _export(
    logits: np.ndarray,
    properties: dict,
    plans: dict,
    configuration: str,
    dataset_json: dict,
    output: Path,
    unfinished: Path,
    name: str,
    report: dict,
    save_probabilities: bool,
) -> None:
    """Runs in a process of its own: resample to the input's grid, write to ``unfinished``, move to ``output``."""
    plans_manager, ending = PlansManager(plans), dataset_json["file_ending"]
    with TemporaryDirectory(dir=unfinished) as folder, full_disk_is_said(output / f"{name}{ending}"):
        hidden = Path(folder) / name
        export_prediction_from_logits(
            logits,
            properties,
            plans_manager.get_configuration(configuration),
            plans_manager,
            dataset_json,
            str(hidden),
            save_probabilities,
        )
        check_written(Path(f"{hidden}{ending}"))
        sidecar = Path(f"{hidden}.json")
        spacing = json.loads(sidecar.read_text()) if sidecar.is_file() else {}  # nnU-Net's, beside a 3-D TIFF
        _write_json(sidecar, spacing | report)
        (output / f"{name}{ending}").unlink(missing_ok=True)  # an older one would not be what the JSON describes
        for suffix in (".json", ".npz", ".pkl", ending) if save_probabilities else (".json", ending):
            publish(Path(f"{hidden}{suffix}"), output / f"{name}{suffix}")


def _report(job: Job, predictor: Predictor) -> dict:
    """What the JSON beside a segmentation says."""
    model, names = predictor.model, predictor.modalities.names
    return {
        "case": job.case.name,
        "modalities_used": [names[channel] for channel in job.subset],
        "modalities_absent": [name for channel, name in enumerate(names) if channel not in job.subset],
        "modalities_empty": [names[channel] for channel in job.empty],
        "files": {names[channel]: job.case.files[channel].name for channel in job.subset},
        "model": {
            "name": model.folder.name,
            "dataset": model.plans["dataset_name"],
            "folds": [str(fold) for fold in model.folds],
            "checkpoint": model.checkpoint,
            "sha256": model.fingerprint,
        },
        "settings": predictor.settings,
        "expected_dice": expected_dice(model, job.subset, predictor.fill),
        "warnings": [*job.warnings, *untested_nnunet_warnings()],
        "versions": {package: version(package) for package in ("magms_nnunet", "nnunetv2", "torch")},
    }


def is_finished(name: str, output: Path, ending: str, save_probabilities: bool) -> bool:
    """Whether a case has a result."""
    wanted = (f"{name}{ending}", f"{name}.npz") if save_probabilities else (f"{name}{ending}",)
    return all((output / file).is_file() for file in wanted)


def check_result(name: str, subset: Subset | None, output: Path, predictor: Predictor) -> None:
    """Compare a result that is there with what this run would write; ``subset``: None for any.

    Raises:
        InputError: it is of another model, subset or setting, or nothing says of which.
    """
    model = predictor.model
    result = output / f"{name}{model.dataset_json['file_ending']}"
    if not result.is_file():
        return
    try:
        report = json.loads((output / f"{name}.json").read_text())
        asked_for = {*report["modalities_used"], *report.get("modalities_empty", ())}
        found = report["model"]["sha256"], asked_for, report["settings"]
    except (OSError, ValueError, KeyError, TypeError):
        found = None
    now = "" if subset is None else f" ({model.modalities.format(subset)})"
    names = found and found[1] if subset is None else {model.modalities.names[channel] for channel in subset}
    if found != (model.fingerprint, names, predictor.settings):
        raise InputError(
            f"{name}: {result} was predicted by another model, from other modalities or with other settings than "
            f"now{now}: choose another output folder or remove it"
        )


def drop_finished(jobs: Sequence[Job], output: Path, predictor: Predictor, save_probabilities: bool) -> list[Job]:
    """The jobs without a result yet, for ``--continue_prediction``.

    Raises:
        InputError: see :func:`check_result`.
    """
    todo, ending = [], predictor.model.dataset_json["file_ending"]
    for job in jobs:
        if is_finished(job.case.name, output, ending, save_probabilities):
            check_result(job.case.name, job.subset, output, predictor)
        else:
            todo.append(job)
    return todo


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2))
