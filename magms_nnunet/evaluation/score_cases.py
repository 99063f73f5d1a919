"""Predicts and scores the cases of an evaluation; the failure of a case does not stop the others."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from magms_nnunet.errors import CaseError, one_line
from magms_nnunet.evaluation import folder as evaluation
from magms_nnunet.evaluation.case_files import digests, files_of_case
from magms_nnunet.evaluation.labelled_cases import LabelledCase, check_labelled_files
from magms_nnunet.evaluation.request import MASKED, EvaluationRequest
from magms_nnunet.evaluation.score_logits import SubsetScores, score_logits, slice_of_images
from magms_nnunet.images.appearance import Appearance
from magms_nnunet.images.cases import check_result_name
from magms_nnunet.images.checks import check_previous_stage
from magms_nnunet.inference.failures import Failures
from magms_nnunet.inference.job import Job, check_unchanged, file_stamps
from magms_nnunet.inference.pipeline import Pending, preprocessed_ahead
from magms_nnunet.inference.predictor import Predictor
from magms_nnunet.inference.processes import workers
from magms_nnunet.inference.request import is_3d
from magms_nnunet.modalities import Subset, union
from magms_nnunet.model.model import TrainedModel

_BYTES_A_TASK = 1 << 30  # of the logits that a process gets at a time


def score_cases(
    request: EvaluationRequest, predictor: Predictor, cases: Sequence[LabelledCase], subsets: Sequence[Subset]
) -> dict[str, str]:
    """Predict and score the cases that have no scores yet.

    Args:
        request: the flags.
        predictor: with the model.
        cases: without scores.
        subsets: to predict from; of each case those whose modalities it has.

    Returns:
        Case -> message, of those that failed.
    """
    model, failures = predictor.model, Failures(request.progress_bar)
    jobs = _checked_jobs(request, cases, subsets, model, failures)
    labelled_cases = {labelled.case.name: labelled for labelled in cases}
    in_progress: dict[str, _CaseInProgress] = {}
    segmentations = request.output / evaluation.SEGMENTATIONS if request.save_segmentations else None
    number = sum(len(labelled.has(subsets)) for labelled in cases)
    bar = tqdm(total=number, unit="subset", disable=not request.progress_bar)

    def finish(job: Job, future: Future) -> None:
        name = job.case.name
        if name in failures.messages:
            return
        try:
            scores = future.result()
            in_progress[name].scores |= scores
            bar.update(len(scores))
            if in_progress[name].is_complete:
                _save(request, in_progress.pop(name), job, subsets, model)
        except Exception as error:  # a case must not take the others with it
            failures.note(name, error)

    pending = Pending(request.export_processes, finish)
    with workers(request.preprocessing_processes) as preprocessing, workers(request.export_processes) as scoring:
        for job, future in preprocessed_ahead(
            preprocessing, jobs, model, request.preprocessing_processes + 1, failures
        ):
            name, labelled = job.case.name, labelled_cases[job.case.name]
            if name in failures.messages:
                continue
            bar.set_postfix_str(one_line(name))
            if name not in in_progress:
                image = scoring.submit(slice_of_images, labelled, union(subsets), model.plans, model.dataset_json)
                in_progress[name] = _CaseInProgress(labelled, labelled.has(subsets), failures.watch(name, image))
            try:
                data, properties = future.result()
                own = in_progress[name].subsets
                for predictions in _predictions(predictor, torch.from_numpy(data), job, own, request.protocol):
                    task = (labelled, predictions, properties, model.plans, model.configuration, model.dataset_json)
                    scored = scoring.submit(score_logits, *task, segmentations, request.checks.geometry_tolerance)
                    pending.add(job, failures.watch(name, scored))
            except Exception as error:
                failures.note(name, error)
        pending.finish()
    bar.close()
    return failures.messages


@dataclass
class _CaseInProgress:
    """A case of which not all subsets have scores.

    Attributes:
        labelled: the case.
        subsets: to predict from.
        slice: future of a slice of the case to look at.
        scores: subset as ``FLAIR+T1c`` -> scores.
    """

    labelled: LabelledCase
    subsets: list[Subset]
    slice: Future
    scores: dict[str, SubsetScores] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        return len(self.scores) == len(self.subsets)


def _save(
    request: EvaluationRequest, case: _CaseInProgress, job: Job, subsets: Sequence[Subset], model: TrainedModel
) -> None:
    """Keep the scores of a complete case, unless its files have changed since they were checked."""
    files = digests(files_read(request, case.labelled, subsets, model))
    check_unchanged(job, "evaluate it again")
    names = [model.modalities.format(subset) for subset in subsets]
    evaluation.save_case(request.output, job.case.name, case.scores, names, case.slice.result(), files)


def _checked_jobs(
    request: EvaluationRequest,
    cases: Sequence[LabelledCase],
    subsets: Sequence[Subset],
    model: TrainedModel,
    failures: Failures,
) -> list[Job]:
    """Return the jobs of all cases whose files pass the checks."""
    jobs = []
    for labelled in tqdm(cases, "checking files", unit="case", leave=False, disable=not request.progress_bar):
        try:
            jobs += _jobs(request, labelled, subsets, model)
        except Exception as error:  # a case must not take the others with it
            failures.note(labelled.case.name, error)
    return jobs


def _jobs(
    request: EvaluationRequest, labelled: LabelledCase, subsets: Sequence[Subset], model: TrainedModel
) -> list[Job]:
    """Return the jobs of a case: one for the whole case, or one per subset that reads its files only."""
    case, modalities, subsets = labelled.case, model.modalities, labelled.has(subsets)
    channels = _channels_read(request, labelled, subsets, model)
    if request.save_segmentations:
        check_result_name(case, model.dataset_json["file_ending"])
    stamps = file_stamps([*case.files.values(), labelled.reference])
    check_labelled_files(
        labelled,
        channels,
        modalities,
        request.checks,
        volumes=is_3d(model.plans, model.configuration),
        appearance=Appearance.from_plans(model.plans, len(modalities)),
    )
    if request.protocol == MASKED:
        return [Job(case, channels, checks=request.checks, stamps=stamps)]
    previous = _previous_stages(request, case.name, subsets, model)
    for subset, path in previous.items():
        if not path.is_file():
            raise CaseError(case.name, f"no {path.name} in {path.parent}: evaluate the previous stage first")
        stamps |= file_stamps([path])
        check_previous_stage(case, subset, path, request.checks)
    return [Job(case, subset, previous.get(subset), request.checks, stamps=stamps) for subset in subsets]


def files_read(
    request: EvaluationRequest, labelled: LabelledCase, subsets: Sequence[Subset], model: TrainedModel
) -> dict[str, Path]:
    """Return all files that the scores of a case depend on.

    Args:
        request: the flags.
        labelled: the case.
        subsets: to predict from.
        model: that is evaluated.

    Returns:
        As :func:`magms_nnunet.evaluation.case_files.files_of_case`.
    """
    subsets = labelled.has(subsets)
    previous = _previous_stages(request, labelled.case.name, subsets, model)
    return files_of_case(labelled, _channels_read(request, labelled, subsets, model), model.modalities, previous)


def _channels_read(
    request: EvaluationRequest, labelled: LabelledCase, subsets: Sequence[Subset], model: TrainedModel
) -> Subset:
    """Return the channels to read; for the masked protocol all that the case has, which determine the crop."""
    if request.protocol != MASKED:
        return union(subsets)
    return tuple(channel for channel in model.modalities.complete if channel in labelled.case.files)


def _previous_stages(
    request: EvaluationRequest, case: str, subsets: Sequence[Subset], model: TrainedModel
) -> dict[Subset, Path]:
    """Return the file of the previous stage's segmentation of a case for each subset; empty without such a stage."""
    if request.previous_stage is None:
        return {}
    file = f"{case}{model.dataset_json['file_ending']}"
    return {subset: request.previous_stage / model.modalities.format(subset) / file for subset in subsets}


def _predictions(
    predictor: Predictor, data: torch.Tensor, job: Job, subsets: Sequence[Subset], protocol: str
) -> Iterator[list[tuple[str, np.ndarray]]]:
    """Yield subset and logits, in lists that are small enough to be sent to another process."""
    if protocol == MASKED:
        if len(job.subset) < len(predictor.modalities):
            given = data
            data = given.new_zeros(len(predictor.modalities), *given.shape[1:])  # no subset of the case has the others
            data[list(job.subset)] = given
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
