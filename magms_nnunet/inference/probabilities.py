"""Probabilities on the grid of a patient's images, by class and by region."""

from collections.abc import Mapping

import numpy as np
import SimpleITK as sitk
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from magms_nnunet.metrics.dice import regions_from_dataset_json


def probabilities(logits, properties: dict, plans: dict, configuration: str, dataset_json: dict) -> np.ndarray:
    """Return nnU-Net's probabilities on the grid of the images.

    Args:
        logits: of the network, ``(C, *spatial)``.
        properties: of nnU-Net's preprocessing of the case.
        plans: of the model.
        configuration: of the model.
        dataset_json: of the model.

    Returns:
        ``(C, z, y, x)``
    """
    manager = PlansManager(plans)
    _, found = convert_predicted_logits_to_segmentation_with_correct_shape(
        torch.as_tensor(logits),
        manager,
        manager.get_configuration(configuration),
        manager.get_label_manager(dataset_json),
        properties,
        return_probabilities=True,
        num_threads_torch=torch.get_num_threads(),
    )
    return found


def channels_of_regions(dataset_json: dict) -> dict[str, tuple[int, ...]]:
    """Return label or region -> channels of nnU-Net's probabilities whose sum is its probability."""
    regions = regions_from_dataset_json(dataset_json)
    if any(len(values) > 1 for values in regions.values()):  # nnU-Net has a sigmoid per region, in this order
        return {name: (channel,) for channel, name in enumerate(regions)}
    return regions


def probability_maps(
    probabilities: np.ndarray, channels: Mapping[str, tuple[int, ...]], like: sitk.Image
) -> dict[str, sitk.Image]:
    """Return label or region -> its probability in every voxel.

    Args:
        probabilities: ``(C, z, y, x)``.
        channels: see :func:`channels_of_regions`.
        like: image with the grid of the probabilities.
    """
    return {name: on_grid(probabilities[list(of_region)].sum(0), like) for name, of_region in channels.items()}


def on_grid(array: np.ndarray, like: sitk.Image) -> sitk.Image:
    """Return an image of an array ``(z, y, x)`` on the grid of another image."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array, np.float32))
    image.CopyInformation(like)
    return image
