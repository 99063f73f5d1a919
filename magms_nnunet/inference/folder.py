"""Predicts the cases of a folder: preprocessing, network and export run side by side; failures stop no other case."""

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from tqdm import tqdm

from magms_nnunet.errors import InputWarning, one_line
from magms_nnunet.inference.case_report import Expectation, case_report, expectation_of_subset
from magms_nnunet.inference.export import Export, export_case
from magms_nnunet.inference.failures import Failures
from magms_nnunet.inference.job import Job, check_unchanged
from magms_nnunet.inference.pipeline import Pending, preprocessed_ahead
from magms_nnunet.inference.predictor import Predictor
from magms_nnunet.inference.processes import workers
from magms_nnunet.trust.advice import WEAK_BELOW


def predict_folder(
    predictor: Predictor,
    jobs: Sequence[Job],
    export: Export,
    *,
    weak_below: float = WEAK_BELOW,
    finished: Callable[[dict], object] = lambda report: None,
    preprocessing_processes: int = 3,
    export_processes: int = 3,
    progress_bar: bool = True,
) -> dict[str, str]:
    """Write ``CASE.ending`` and ``CASE.json`` for every job; with probabilities also nnU-Net's .npz and .pkl.

    Args:
        predictor: with the model.
        jobs: one per case.
        export: output folder, and the files to write.
        weak_below: the Dice below which a subset is called weak.
        finished: is called with the JSON of every case that is done.
        preprocessing_processes: number of processes; with 0, or for a single job, none is started.
        export_processes: number of processes; with 0, or for a single job, none is started.
        progress_bar: whether a bar over the cases is printed.

    Returns:
        Case -> message, of those that failed.

    Raises:
        InputError: the evaluation that is kept beside the model is damaged; nothing has been written.
    """
    model, subsets = predictor.model, {job.subset for job in jobs}
    expectations = {subset: expectation_of_subset(model, subset, predictor.fill, weak_below) for subset in subsets}
    failures = Failures(progress_bar)
    processes = (0, 0) if len(jobs) == 1 else (preprocessing_processes, export_processes)
    with (
        tqdm(total=len(jobs), unit="case", disable=not progress_bar) as bar,
        workers(processes[0]) as preprocessing,
        workers(processes[1]) as exporting,
    ):
        export.write_model_files(model)
        exports = Pending(export_processes + 1, partial(_finish, failures, bar, finished))
        for job, future in preprocessed_ahead(preprocessing, jobs, model, preprocessing_processes + 1, failures):
            case = job.case.name
            bar.set_postfix_str(one_line(f"{case} from {predictor.modalities.format(job.subset)}"))
            try:
                warned, arguments = _segment(predictor, job, future, expectations[job.subset], export)
                del future  # the export needs the memory of the preprocessed voxels
                future = exporting.submit(export_case, *arguments)
                del arguments  # the next case needs the memory
            except Exception as error:  # a case must not take the others with it
                failures.note(case, error)
                bar.update()
            else:
                exports.add(case, warned, failures.watch(case, future))
        exports.finish()
    return failures.messages


def _segment(
    predictor: Predictor, job: Job, preprocessed: Future, expectation: Expectation, export: Export
) -> tuple[int, tuple]:
    """Run the network on a preprocessed case.

    Returns:
        The number of warnings in the report, which the user has seen, and the arguments of :func:`export_case`.
    """
    model = predictor.model
    data, properties = preprocessed.result()
    report = case_report(job, model, predictor.settings, expectation)
    check_unchanged(job, "predict it again")
    of_folds: list[np.ndarray] = []
    logits = _logits(predictor, job, data, on_fold=of_folds.append if export.extras.needs_folds else None)
    images = {model.modalities.names[channel]: job.case.files[channel] for channel in job.subset}
    of_model = model.plans, model.configuration, model.dataset_json
    extras = replace(export.extras, images=images, logits_of_folds=of_folds)
    arguments = (replace(export, extras=extras), logits, properties, *of_model, report, expectation.residuals)
    warned = len(report["warnings"])  # the export adds to them
    return warned, arguments


def _finish(
    failures: Failures, bar: tqdm, finished: Callable[[dict], object], case: str, warned: int, export: Future
) -> None:
    """Report an export to the user: warnings beyond the first ``warned``, and the result or the failure."""
    try:
        report = export.result()
    except Exception as error:  # a case must not take the others with it
        failures.note(case, error)
    else:
        for text in report["warnings"][warned:]:
            warnings.warn(f"{case}: {text}", InputWarning, stacklevel=2)
        finished(report)
    bar.update()


def _logits(
    predictor: Predictor, job: Job, data: np.ndarray, on_fold: Callable[[np.ndarray], object] | None
) -> np.ndarray:
    on_tensor = None if on_fold is None else lambda logits: on_fold(logits.numpy())
    return predictor.predict_logits(torch.from_numpy(data), job.subset, on_tensor).numpy()
