"""Computes the scores of one case from its logits, in a process beside the network."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import Tensor

from magms_nnunet.errors import CaseError
from magms_nnunet.evaluation.labelled_cases import RESAMPLE_REFERENCE, LabelledCase
from magms_nnunet.images.grid import GEOMETRY_TOLERANCE, Grid, check_same_grid
from magms_nnunet.images.labels import format_values, fractional_note, whole_labels
from magms_nnunet.metrics.dice import regions_from_dataset_json
from magms_nnunet.metrics.scores import Reference
from magms_nnunet.preprocessing.reading import grid_of_reader, read_voxels
from magms_nnunet.report.overlay import best_slice
from magms_nnunet.storage.files import UNFINISHED, make_folder, publish, report_full_disk
from magms_nnunet.storage.written_image import check_written
from magms_nnunet.trust.soft_dice import soft_dice


@dataclass(frozen=True)
class SubsetScores:
    """The scores of one case predicted from one subset.

    Attributes:
        rows: of scores.csv.
        entropy_nats: mean predictive entropy.
        labels: ``(H, W)``, the prediction in the slice with most of the reference.
        soft_dice: region -> the network's own estimate of its Dice.
    """

    rows: list[dict]
    entropy_nats: float
    labels: np.ndarray
    soft_dice: dict[str, float] = field(default_factory=dict)


def mean_entropy_nats(logits: Tensor, regions: bool) -> float:
    """Return the predictive entropy, mean over voxels: H(f | x) of Theorem 1 in arXiv 2306.03730.

    Args:
        logits: ``(C, *spatial)``.
        regions: whether the outputs are sigmoids, whose entropies are averaged.
    """
    logits = logits.float()
    if regions:
        p = torch.sigmoid(logits)
        return float((torch.special.entr(p) + torch.special.entr(1 - p)).mean())
    return float(torch.special.entr(torch.softmax(logits, 0)).sum(0).mean())


def score_logits(
    labelled: LabelledCase,
    predictions: Sequence[tuple[str, np.ndarray]],
    properties: dict,
    plans: dict,
    configuration: str,
    dataset_json: dict,
    segmentations: Path | None,
    geometry_tolerance: float = GEOMETRY_TOLERANCE,
) -> dict[str, SubsetScores]:
    """Resample logits to the grid of the images, and compare them with the reference.

    Args:
        labelled: the case.
        predictions: subset as ``FLAIR+T1c``, and logits ``(classes, *spatial)``.
        properties: of nnU-Net's preprocessing of this case.
        plans: of the model.
        configuration: of the model.
        dataset_json: of the model.
        segmentations: folder to write ``SUBSET/CASE.ending`` to; None: none is written.
        geometry_tolerance: largest distance between a voxel of the reference and of the images, in voxels.

    Raises:
        CaseError: the reference lies on another grid than the images, or has labels that dataset.json does not declare.
    """
    plans_manager = PlansManager(plans)
    label_manager = plans_manager.get_label_manager(dataset_json)
    reader = plans_manager.image_reader_writer_class()
    regions = regions_from_dataset_json(dataset_json)
    shape = tuple(properties["shape_before_cropping"][axis] for axis in plans_manager.transpose_backward)
    labels, of_reference = read_reference(labelled, reader, dataset_json)
    _check_grid(
        labelled, grid_of_reader(labels.shape, of_reference), grid_of_reader(shape, properties), geometry_tolerance
    )
    reference, spacing_mm = squeeze_2d(labels, properties["spacing"])
    prepared = Reference(reference, regions, spacing_mm, label_manager.ignore_label)
    z = best_slice(labels, regions)
    scores = {}
    for subset, logits in predictions:
        logits = torch.from_numpy(logits)
        entropy = mean_entropy_nats(logits, label_manager.has_regions)
        estimate = soft_dice(logits, regions, sigmoid=label_manager.has_regions)
        segmentation = convert_predicted_logits_to_segmentation_with_correct_shape(
            logits,
            plans_manager,
            plans_manager.get_configuration(configuration),
            label_manager,
            properties,
            num_threads_torch=torch.get_num_threads(),
        )
        rows = prepared.score(labelled.case.name, subset, squeeze_2d(segmentation, properties["spacing"])[0])
        scores[subset] = SubsetScores(rows, entropy, segmentation[z], estimate)
        if segmentations is not None:
            make_folder(segmentations)
            path = segmentations / subset / f"{labelled.case.name}{dataset_json['file_ending']}"
            _write_segmentation(path, segmentation, reader, properties)
    return scores


def _write_segmentation(path: Path, segmentation: np.ndarray, reader, properties: dict) -> None:
    """Write a label map; it gets its name when it is complete."""
    make_folder(path.parent)
    full = partial(report_full_disk, path)
    with full(), TemporaryDirectory(prefix=UNFINISHED, dir=path.parent) as hidden, full():
        reader.write_seg(segmentation, f"{hidden}/{path.name}", properties)
        check_written(Path(hidden) / path.name)
        for file in sorted(Path(hidden).iterdir(), key=lambda file: file.name == path.name):
            publish(file, path.parent / file.name)  # a 3-D TIFF has a JSON beside it


def read_reference(labelled: LabelledCase, reader, dataset_json: dict) -> tuple[np.ndarray, dict]:
    """Read the reference of a case.

    Args:
        labelled: the case.
        reader: one of nnU-Net's readers.
        dataset_json: of the model.

    Returns:
        Labels ``(Z, Y, X)`` and the properties of the file.

    Raises:
        CaseError: the file cannot be read, or has labels that dataset.json does not declare.
    """
    name, file = labelled.case.name, labelled.reference.name
    segmentation, properties = read_voxels(reader.read_seg, str(labelled.reference), name, f"reference {file}")
    labels = whole_labels(segmentation[0])
    values = dataset_json["labels"].values()
    declared = {0} | {v for value in values for v in (value if isinstance(value, list | tuple) else (value,))}
    unknown = sorted(set(np.unique(labels).tolist()) - declared)
    if unknown:
        found, declared = f"[{format_values(unknown)}]{fractional_note(unknown)}", format_values(sorted(declared))
        raise CaseError(
            name,
            f"reference {file} has labels {found}, dataset.json knows [{declared}]: convert it first",
        )
    return labels.astype(np.int32), properties  # the file may have 16 bits without a sign


def _check_grid(labelled: LabelledCase, reference: Grid, images: Grid, tolerance_voxels: float) -> None:
    label = f"{labelled.reference.name} (reference)"
    first = next(iter(labelled.case.files.values())).name
    check_same_grid(labelled.case.name, label, reference, first, images, tolerance_voxels, RESAMPLE_REFERENCE)


def squeeze_2d(labels: np.ndarray, spacing_mm: Sequence[float]) -> tuple[np.ndarray, tuple[float, ...]]:
    """Remove the axis of a 2-D image, which nnU-Net reads as one slice of 999 mm; other images are unchanged."""
    if labels.shape[0] == 1:
        return labels[0], tuple(spacing_mm[1:])
    return labels, tuple(spacing_mm)


def slice_of_images(labelled: LabelledCase, channels: Sequence[int], plans: dict, dataset_json: dict) -> dict:
    """Return the slice that has most of the reference.

    Args:
        labelled: the case.
        channels: whose files are read.
        plans: of the model.
        dataset_json: of the model.

    Returns:
        ``images`` ``(len(channels), H, W)`` uint8, 0 where the case lacks the channel, ``reference`` ``(H, W)``, and
        ``spacing_mm``.
    """
    reader = PlansManager(plans).image_reader_writer_class()
    labels, _ = read_reference(labelled, reader, dataset_json)
    z = best_slice(labels, regions_from_dataset_json(dataset_json))
    files = [str(labelled.case.files[channel]) for channel in channels if channel in labelled.case.files]
    images, properties = read_voxels(reader.read_images, files, labelled.case.name, "an image")
    grey = np.zeros((len(channels), *labels[z].shape), np.uint8)
    for channel, image in zip((c for c in channels if c in labelled.case.files), images[:, z], strict=True):
        low, high = np.percentile(image, (1, 99.5))
        grey[channels.index(channel)] = np.clip((image - low) / max(high - low, 1e-8) * 255, 0, 255)
    return {
        "images": grey,
        "reference": labels[z],
        "spacing_mm": np.array(properties["spacing"][1:], float),
    }
