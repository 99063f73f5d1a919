"""Predicts the cases of a folder: preprocessing, network and export side by side, one failure not stopping the rest."""

import json
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from nnunetv2.inference.export_prediction import export_prediction_from_logits
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from tqdm import tqdm

from magms_nnunet.errors import InputWarning, one_line
from magms_nnunet.inference.case_report import Known, case_report, dice_at_least, known_of_subset, volumes_mm3
from magms_nnunet.inference.extras import NOTHING_MORE, Extras, older_extras
from magms_nnunet.inference.failures import Failures
from magms_nnunet.inference.job import Job, check_unchanged
from magms_nnunet.inference.predictor import Predictor
from magms_nnunet.inference.processes import workers
from magms_nnunet.model.model import TrainedModel
from magms_nnunet.model.model_json import without_listed_files
from magms_nnunet.preprocessing.subset import preprocess_case
from magms_nnunet.storage.files import is_link, make_folder, publish, report_full_disk
from magms_nnunet.storage.json_files import write_json
from magms_nnunet.storage.written_image import check_written, trivial_segmentation
from magms_nnunet.trust.advice import WEAK_BELOW


def predict_folder(
    predictor: Predictor,
    jobs: Sequence[Job],
    output: Path,
    unfinished: Path,
    *,
    save_probabilities: bool = False,
    extras: Extras = NOTHING_MORE,
    weak_below: float = WEAK_BELOW,
    finished: Callable[[dict], object] = lambda report: None,
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
        unfinished: folder on the same file system, see :func:`magms_nnunet.storage.output_lock.locked_output`.
        save_probabilities: as nnU-Net does.
        extras: what else is written.
        weak_below: the Dice below which a subset is called weak.
        finished: is called with the JSON of every case that is done.
        preprocessing_processes: 0 or a single job: no processes are started; the same for ``export_processes``.
        progress_bar: over the cases.

    Returns:
        Case -> message, of those that failed.

    Raises:
        InputError: the evaluation that is kept beside the model is damaged; nothing has been written.
    """
    model = predictor.model
    known = {subset: known_of_subset(predictor, subset, weak_below) for subset in {job.subset for job in jobs}}
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
        for name, content in model_files(model).items():
            with report_full_disk(output / name):
                write_json(unfinished / name, content)
                publish(unfinished / name, output / name)
        exports: deque[tuple[Job, Future]] = deque()
        warned: dict[str, int] = {}

        def finish_one():
            job, future = exports.popleft()
            if (report := attempt(job, future.result)) is not None:
                for odd in report["warnings"][warned[job.case.name] :]:  # the others have been said
                    warnings.warn(f"{job.case.name}: {odd}", InputWarning, stacklevel=2)
                finished(report)
            bar.update()

        for job, future in preprocessed_ahead(preprocessing, jobs, model, preprocessing_processes + 1, failures):
            bar.set_postfix_str(one_line(f"{job.case.name} from {model.modalities.format(job.subset)}"))
            prepared = attempt(job, partial(_prepared, job, future, predictor, known[job.subset]))
            of_folds: list[np.ndarray] = []
            network = partial(_logits, predictor, job, on_fold=of_folds.append if extras.needs_folds else None)
            logits = None if prepared is None else attempt(job, partial(network, prepared[0]))
            if logits is None:
                bar.update()
                continue
            _, properties, report = prepared
            del prepared, future  # the export needs the memory of the preprocessed voxels
            warned[job.case.name] = len(report["warnings"])
            shown = {model.modalities.names[channel]: job.case.files[channel] for channel in job.subset}
            beside = known[job.subset].residuals, replace(extras, images=shown, logits_of_folds=of_folds)
            arguments = (logits, properties, model.plans, model.configuration, model.dataset_json)
            where = (output, unfinished, job.case.name)
            future = export.submit(_export, *arguments, *where, report, save_probabilities, *beside)
            exports.append((job, failures.watch(job.case.name, future)))
            del logits, of_folds, beside, arguments  # the next case needs the memory
            while len(exports) > export_processes + 1:
                finish_one()
        while exports:
            finish_one()
    bar.close()
    return failures.messages


def _prepared(job: Job, future: Future, predictor: Predictor, known: Known) -> tuple[np.ndarray, dict, dict]:
    """Voxels, properties and report, unless these may be of something else than what was checked."""
    data, properties = future.result()
    report = case_report(job, predictor, known)
    check_unchanged(job, "predict it again")
    return data, properties, report


def _logits(
    predictor: Predictor, job: Job, data: np.ndarray, on_fold: Callable[[np.ndarray], object] | None
) -> np.ndarray:
    told = None if on_fold is None else lambda logits: on_fold(logits.numpy())
    return predictor.predict_logits(torch.from_numpy(data), job.subset, told).numpy()


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
    residuals: dict[str, list[float]],
    extras: Extras,
) -> dict:
    """Runs in a process of its own: resample to the input's grid, write to ``unfinished``, move to ``output``.

    Returns:
        The report, with what the result adds to it.
    """
    plans_manager, ending = PlansManager(plans), dataset_json["file_ending"]
    full = partial(report_full_disk, output / f"{name}{ending}")
    with full(), TemporaryDirectory(dir=unfinished) as folder, full():  # while what fills the disk is still there
        hidden = Path(folder) / name
        export_prediction_from_logits(
            logits,
            properties,
            plans_manager.get_configuration(configuration),
            plans_manager,
            dataset_json,
            str(hidden),
            save_probabilities,
            torch.get_num_threads(),
        )
        check_written(Path(f"{hidden}{ending}"))
        labels, read = plans_manager.image_reader_writer_class().read_seg(f"{hidden}{ending}")
        if (odd := trivial_segmentation(labels)) is not None:
            report["warnings"].append(odd)
        report["volumes_mm3"] = volumes_mm3(labels[0], read["spacing"], dataset_json)
        report["dice_at_least"] = dice_at_least(torch.as_tensor(logits), plans, dataset_json, residuals)
        extras.write(Path(folder), Path(f"{hidden}{ending}"), logits, properties, plans, configuration, dataset_json)
        sidecar = Path(f"{hidden}.json")
        spacing = json.loads(sidecar.read_text()) if sidecar.is_file() else {}  # nnU-Net's, beside a 3-D TIFF
        write_json(sidecar, spacing | report)
        older = [output / f"{name}{suffix}" for suffix in (ending, ".npz", ".pkl")]
        for path in older + older_extras(output, name):  # they would not be what the JSON describes
            if not is_link(path.parent) or path.parent == output:
                path.unlink(missing_ok=True)
        for file in extras.files(name):
            make_folder((output / file).parent)
            publish(Path(folder) / file, output / file)
        for suffix in (".json", ".npz", ".pkl", ending) if save_probabilities else (".json", ending):
            publish(Path(f"{hidden}{suffix}"), output / f"{name}{suffix}")
    return report


def model_files(model: TrainedModel) -> dict[str, dict]:
    """What nnU-Net, too, writes beside its predictions."""
    return {"dataset.json": without_listed_files(model.dataset_json), "plans.json": model.plans}
