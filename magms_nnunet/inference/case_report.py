"""What the JSON beside a segmentation says: from what it was made, by which model, and how far to trust it."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from magms_nnunet.inference.job import Job, file_digests
from magms_nnunet.metrics.dice import regions_from_dataset_json
from magms_nnunet.modalities import Subset
from magms_nnunet.model.expected import expected_dice, mean_dice, residuals
from magms_nnunet.nnunet.version import installed_versions, untested_nnunet_warnings
from magms_nnunet.trust.advice import WEAK_BELOW, is_weak, next_scan
from magms_nnunet.trust.conformal import COVERAGE, lower_bound
from magms_nnunet.trust.soft_dice import soft_dice

if TYPE_CHECKING:
    from magms_nnunet.inference.predictor import Predictor

_NO_VOLUME_MM = 999  # nnU-Net's thickness of a 2-D image


@dataclass(frozen=True)
class Known:
    """What the evaluation that is kept beside a model says of a subset.

    Attributes:
        report: its part of the JSON.
        residuals: region -> what a bound is calibrated on; empty where it is not known.
    """

    report: dict
    residuals: dict[str, list[float]]


def known_of_subset(predictor: "Predictor", subset: Subset, weak_below: float = WEAK_BELOW) -> Known:
    """What the evaluation that is kept beside the model says, if there is one.

    Raises:
        InputError: its file is damaged.
    """
    model, modalities = predictor.model, predictor.modalities
    expected = expected_dice(model, subset, predictor.fill)
    report: dict = {"expected_dice": expected, "weak": None, "next_scan": None}
    if expected is not None:
        dice = mean_dice(model, predictor.fill)
        report["weak"] = is_weak(dice, modalities, subset, weak_below)
        report["next_scan"] = next_scan(dice, modalities, subset)
    return Known(report, residuals(model, subset, predictor.fill))


def case_report(job: Job, predictor: "Predictor", known: Known) -> dict:
    """All that is known before the network's output is there."""
    model, names = predictor.model, predictor.modalities.names
    return {
        "case": job.case.name,
        "modalities_used": [names[channel] for channel in job.subset],
        "modalities_absent": [name for channel, name in enumerate(names) if channel not in job.subset],
        "modalities_empty": [names[channel] for channel in job.empty],
        "files": {names[channel]: job.case.files[channel].name for channel in job.subset},
        "files_sha256": file_digests(job),
        "model": {
            "name": model.folder.name,
            "dataset": model.plans["dataset_name"],
            "folds": [str(fold) for fold in model.folds],
            "checkpoint": model.checkpoint,
            "sha256": model.fingerprint,
        },
        "settings": predictor.settings,
        "checks": asdict(job.checks),
        **known.report,
        "warnings": [*job.warnings, *untested_nnunet_warnings()],
        "versions": installed_versions(),
    }


def dice_at_least(
    logits: torch.Tensor, plans: dict, dataset_json: dict, residuals: dict[str, list[float]]
) -> dict[str, dict] | None:
    """The bound of each region's Dice for this patient.

    Args:
        logits: of the network, ``(C, *spatial)``.
        plans: of the model.
        dataset_json: of the model.
        residuals: region -> what it is calibrated on.

    Returns:
        Region -> ``{"dice", "estimate", "coverage", "calibration_cases"}``; None: there are no or too few cases to
        calibrate on.
    """
    regions = regions_from_dataset_json(dataset_json)
    if not regions.keys() <= residuals.keys():
        return None
    has_regions = PlansManager(plans).get_label_manager(dataset_json).has_regions
    bounds = {}
    for region, estimate in soft_dice(logits, regions, sigmoid=has_regions).items():
        if (bound := lower_bound(estimate, residuals[region])) is None:
            return None
        about = {"coverage": COVERAGE, "calibration_cases": len(residuals[region])}
        bounds[region] = {"dice": bound, "estimate": estimate} | about
    return bounds


def volumes_mm3(labels: np.ndarray, spacing_mm: tuple[float, ...], dataset_json: dict) -> dict[str, float] | None:
    """Region -> volume; None for a 2-D image.

    Args:
        labels: ``(z, y, x)``.
        spacing_mm: in the same order.
        dataset_json: of the model.
    """
    if _NO_VOLUME_MM in spacing_mm:
        return None
    voxel_mm3 = float(np.prod(spacing_mm))
    regions = regions_from_dataset_json(dataset_json)
    return {name: int(np.isin(labels, values).sum()) * voxel_mm3 for name, values in regions.items()}
