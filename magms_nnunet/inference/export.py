"""Writes the results of a case, in a process beside the network, and the files of the model."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from nnunetv2.inference.export_prediction import export_prediction_from_logits
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from magms_nnunet.inference.case_report import dice_at_least, volumes_mm3
from magms_nnunet.inference.extras import NOTHING_MORE, Extras, older_extras
from magms_nnunet.model.model import TrainedModel
from magms_nnunet.model.model_json import without_listed_files
from magms_nnunet.storage.files import is_link, make_folder, publish, report_full_disk
from magms_nnunet.storage.json_files import write_json
from magms_nnunet.storage.written_image import check_written, trivial_segmentation


@dataclass(frozen=True)
class Export:
    """The output folder of a run, and the files to write.

    Attributes:
        output: existing folder.
        unfinished: folder on the same file system, see :func:`magms_nnunet.storage.output_lock.locked_output`.
        save_probabilities: whether nnU-Net's .npz and .pkl are written.
        extras: files beside the segmentation.
    """

    output: Path
    unfinished: Path
    save_probabilities: bool = False
    extras: Extras = NOTHING_MORE

    def write_model_files(self, model: TrainedModel) -> None:
        """Write the files for nnU-Net's ensembling and postprocessing; other parts may write the same."""
        for name, content in model_files(model).items():
            with report_full_disk(self.output / name):
                write_json(self.unfinished / name, content)
                publish(self.unfinished / name, self.output / name)


def model_files(model: TrainedModel) -> dict[str, dict]:
    """Return the files of a model that nnU-Net also writes beside its predictions: name -> content."""
    return {"dataset.json": without_listed_files(model.dataset_json), "plans.json": model.plans}


def export_case(
    export: Export,
    logits: np.ndarray,
    properties: dict,
    plans: dict,
    configuration: str,
    dataset_json: dict,
    report: dict,
    residuals: dict[str, list[float]],
) -> dict:
    """Resample the logits of a case to the grid of its images, and write its results.

    Each file gets its final name when it is complete, the segmentation last.

    Args:
        export: output folder, and the files to write, with the inputs of the extras for this case.
        logits: of the network, ``(C, *spatial)``.
        properties: of nnU-Net's preprocessing of the case.
        plans: of the model.
        configuration: of the model.
        dataset_json: of the model.
        report: content of the JSON beside the segmentation, see :mod:`magms_nnunet.inference.case_report`.
        residuals: region -> values on which the bound of its Dice is calibrated.

    Returns:
        The report, with the entries on the result.
    """
    name, ending = report["case"], dataset_json["file_ending"]
    plans_manager = PlansManager(plans)
    full = partial(report_full_disk, export.output / f"{name}{ending}")
    with (
        full(),
        TemporaryDirectory(dir=export.unfinished) as folder,
        full(),
    ):  # the outer one, because removing the folder may fail, too
        hidden = Path(folder) / name
        export_prediction_from_logits(
            logits,
            properties,
            plans_manager.get_configuration(configuration),
            plans_manager,
            dataset_json,
            str(hidden),
            export.save_probabilities,
            torch.get_num_threads(),
        )
        segmentation = Path(f"{hidden}{ending}")
        check_written(segmentation)
        labels, read = plans_manager.image_reader_writer_class().read_seg(str(segmentation))
        if (warning := trivial_segmentation(labels)) is not None:
            report["warnings"].append(warning)
        report["volumes_mm3"] = volumes_mm3(labels[0], read["spacing"], dataset_json)
        report["dice_at_least"] = dice_at_least(torch.as_tensor(logits), plans, dataset_json, residuals)
        export.extras.write(Path(folder), segmentation, logits, properties, plans, configuration, dataset_json)
        sidecar = Path(f"{hidden}.json")
        spacing = json.loads(sidecar.read_text()) if sidecar.is_file() else {}  # nnU-Net writes it beside a 3-D TIFF
        write_json(sidecar, spacing | report)
        _publish_case(export, Path(folder), name, ending)
    return report


def _publish_case(export: Export, folder: Path, name: str, ending: str) -> None:
    """Move the complete files of a case to the output folder, in place of those of an earlier run."""
    older = [export.output / f"{name}{suffix}" for suffix in (ending, ".npz", ".pkl")]
    for path in older + older_extras(export.output, name):  # they would contradict the JSON
        if not is_link(path.parent) or path.parent == export.output:
            path.unlink(missing_ok=True)
    for file in export.extras.files(name):
        make_folder((export.output / file).parent)
        publish(folder / file, export.output / file)
    for suffix in (".json", ".npz", ".pkl", ending) if export.save_probabilities else (".json", ending):
        publish(folder / f"{name}{suffix}", export.output / f"{name}{suffix}")
