"""Predicts and scores the cases of an evaluation; one that fails takes no other with it."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
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
from magms_nnunet.inference.folder import preprocessed_ahead
from magms_nnunet.inference.job import Job, check_unchanged, file_stamps
from magms_nnunet.inference.predictor import Predictor
from magms_nnunet.inference.processes import workers
from magms_nnunet.inference.request import is_3d
from magms_nnunet.modalities import Subset, union
from magms_nnunet.model.model import TrainedModel

_BYTES_A_TASK = 1 << 30  # of logits that are handed to a process at a time


def score_cases(
    request: EvaluationRequest, predictor: Predictor, cases: Sequence[LabelledCase], subsets: Sequence[Subset]
) -> dict[str, str]:
    """Predict and score what is not done yet; case -> message of those that failed."""
    model = predictor.model
    names, shown = [model.modalities.format(subset) for subset in subsets], union(subsets)
    labelled_cases = {labelled.case.name: labelled for labelled in cases}
    counts = {name: len(labelled.has(subsets)) for name, labelled in labelled_cases.items()}
    failures = Failures(request.progress_bar)
    failed = failures.messages
    jobs = []
    for labelled in tqdm(cases, "checking files", unit="case", leave=False, disable=not request.progress_bar):
        try:
            jobs += _jobs(request, labelled, subsets, model)
        except Exception as error:  # a case must not take the others with it
            failures.note(labelled.case.name, error)
    any_job = {job.case.name: job for job in jobs}
    scores: dict[str, dict[str, SubsetScores]] = {name: {} for name in labelled_cases}
    images: dict[str, Future] = {}
    waiting: deque[tuple[str, Future]] = deque()
    tolerance = request.checks.geometry_tolerance
    context = model.plans, model.configuration, model.dataset_json
    segmentations = request.output / evaluation.SEGMENTATIONS if request.save_segmentations else None
    bar = tqdm(total=sum(counts.values()), unit="subset", disable=not request.progress_bar)

    def finish_one() -> None:
        name, future = waiting.popleft()
        if name in failed:
            return
        try:
            result = future.result()
            scores[name] |= result
            bar.update(len(result))
            if len(scores[name]) == counts[name]:
                files = digests(files_read(request, labelled_cases[name], subsets, model))
                check_unchanged(any_job[name], "evaluate it again")
                evaluation.save_case(request.output, name, scores.pop(name), names, images.pop(name).result(), files)
        except Exception as error:  # a case must not take the others with it
            failures.note(name, error)

    with workers(request.preprocessing_processes) as preprocessing, workers(request.export_processes) as scoring:
        for job, future in preprocessed_ahead(
            preprocessing, jobs, model, request.preprocessing_processes + 1, failures
        ):
            name = job.case.name
            if name in failed:
                continue
            bar.set_postfix_str(one_line(name))
            labelled = labelled_cases[name]
            if name not in images:
                image = scoring.submit(slice_of_images, labelled, shown, model.plans, model.dataset_json)
                images[name] = failures.watch(name, image)
            try:
                data, properties = future.result()
                own = labelled.has(subsets)
                for predictions in _predictions(predictor, torch.from_numpy(data), job, own, request.protocol):
                    task = (labelled, predictions, properties, *context, segmentations, tolerance)
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
    """What to preprocess of a case: it as a whole, or as if each of its subsets were all that there is."""
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
    """All files that the scores of a case depend on; see :func:`magms_nnunet.evaluation.case_files.files_of_case`."""
    subsets = labelled.has(subsets)
    previous = _previous_stages(request, labelled.case.name, subsets, model)
    return files_of_case(labelled, _channels_read(request, labelled, subsets, model), model.modalities, previous)


def _channels_read(
    request: EvaluationRequest, labelled: LabelledCase, subsets: Sequence[Subset], model: TrainedModel
) -> Subset:
    """Masked, the crop is that of all that the case has, whichever subsets are scored."""
    if request.protocol != MASKED:
        return union(subsets)
    return tuple(channel for channel in model.modalities.complete if channel in labelled.case.files)


def _previous_stages(
    request: EvaluationRequest, case: str, subsets: Sequence[Subset], model: TrainedModel
) -> dict[Subset, Path]:
    """Where the previous stage's segmentation of a case from each subset lies; empty where there is no such stage."""
    if request.previous_stage is None:
        return {}
    file = f"{case}{model.dataset_json['file_ending']}"
    return {subset: request.previous_stage / model.modalities.format(subset) / file for subset in subsets}


def _predictions(
    predictor: Predictor, data: torch.Tensor, job: Job, subsets: Sequence[Subset], protocol: str
) -> Iterator[list[tuple[str, np.ndarray]]]:
    """Subset and logits, in lists that are small enough to be handed to another process."""
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
