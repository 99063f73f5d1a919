"""The JSON beside a segmentation: its files, its model, and the trust in it."""

from dataclasses import asdict, dataclass

import numpy as np
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from magms_nnunet.inference.job import Job, file_digests
from magms_nnunet.metrics.dice import regions_from_dataset_json
from magms_nnunet.modalities import Subset
from magms_nnunet.model.expected import attached_dice, attached_mean_dice, residuals
from magms_nnunet.model.model import TrainedModel
from magms_nnunet.nnunet.version import installed_versions, untested_nnunet_warnings
from magms_nnunet.trust.advice import WEAK_BELOW, is_weak, next_scan
from magms_nnunet.trust.conformal import COVERAGE, lower_bound
from magms_nnunet.trust.soft_dice import soft_dice

_NO_VOLUME_MM = 999  # nnU-Net's thickness of a 2-D image


@dataclass(frozen=True)
class Expectation:
    """The quality to expect of a subset, by the evaluation that is kept beside a model.

    Attributes:
        report: its part of the JSON.
        residuals: region -> values on which a bound of the Dice is calibrated; empty without an evaluation.
    """

    report: dict
    residuals: dict[str, list[float]]


def expectation_of_subset(
    model: TrainedModel, subset: Subset, fill: str | None, weak_below: float = WEAK_BELOW
) -> Expectation:
    """Read the quality to expect of a subset from the evaluation that is kept beside the model, if there is one.

    Args:
        model: beside which the evaluation is kept.
        subset: the modalities.
        fill: what takes the place of absent modalities in a model that does not read subsets.
        weak_below: the Dice below which a subset is called weak.

    Raises:
        InputError: the evaluation is damaged.
    """
    expected = attached_dice(model, subset, fill)
    report: dict = {"expected_dice": expected, "weak": None, "next_scan": None}
    if expected is not None:
        dice = attached_mean_dice(model, fill)
        report["weak"] = is_weak(dice, model.modalities, subset, weak_below)
        report["next_scan"] = next_scan(dice, model.modalities, subset)
    return Expectation(report, residuals(model, subset, fill))


def case_report(job: Job, model: TrainedModel, settings: dict, expectation: Expectation) -> dict:
    """Return the part of a case's JSON that does not depend on the output of the network.

    Args:
        job: the case.
        model: that predicts it.
        settings: of the predictor.
        expectation: of the subset of the job.
    """
    names = model.modalities.names
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
        "settings": settings,
        "checks": asdict(job.checks),
        **expectation.report,
        "warnings": [*job.warnings, *untested_nnunet_warnings()],
        "versions": installed_versions(),
    }


def dice_at_least(
    logits: torch.Tensor, plans: dict, dataset_json: dict, residuals: dict[str, list[float]]
) -> dict[str, dict] | None:
    """Return the bound of each region's Dice for this patient.

    Args:
        logits: of the network, ``(C, *spatial)``.
        plans: of the model.
        dataset_json: of the model.
        residuals: region -> values on which the bound is calibrated.

    Returns:
        Region -> ``{"dice", "estimate", "coverage", "calibration_cases"}``; None: the cases for the calibration are
        too few.
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
    """Return region -> volume; None for a 2-D image.

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
