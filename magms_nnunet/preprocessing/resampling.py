"""Refuses images that the model's spacing would turn into no voxels, or into more than any memory holds."""

import math
from collections.abc import Sequence

import numpy as np
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from magms_nnunet.errors import CaseError, format_size

MOST_VOXELS = 2**31  # 8 GB per modality; a CT of the whole body at 1 mm has 2**29


def run_preprocessor(
    case: str,
    images: list[np.ndarray],
    segmentation,
    properties: dict,
    plans_manager: PlansManager,
    configuration_manager: ConfigurationManager,
    dataset_json: dict,
):
    """Call nnU-Net's ``run_case_npy``.

    Args:
        case: name of the case, for messages.
        images: ``(C, *spatial)``.
        segmentation: ``(1, *spatial)`` or None.
        properties: of the reader.
        plans_manager: of the model.
        configuration_manager: of the model.
        dataset_json: of the model.

    Returns:
        Preprocessed images, segmentation and properties.

    nnU-Net works on a copy of the images. So that the original does not stay in memory beside it, ``images`` is a list
    of one array, ``(M, *spatial)``, which is taken out of it. Python 3.10 keeps it nevertheless.

    Raises:
        CaseError: with the spacing in its header the case would be resampled to no voxels or to too many.
    """
    transpose = plans_manager.transpose_forward
    spacing_mm, shape = (
        [values[axis] for axis in transpose] for values in (properties["spacing"], images[0].shape[1:])
    )
    _check_shape(case, shape, spacing_mm, configuration_manager.spacing)
    preprocessor = configuration_manager.preprocessor_class(verbose=False)
    try:
        return preprocessor.run_case_npy(
            images.pop(), segmentation, properties, plans_manager, configuration_manager, dataset_json
        )
    except ValueError:
        cropped = properties.get("shape_after_cropping_and_before_resampling", shape)
        _check_shape(case, cropped, spacing_mm, configuration_manager.spacing)  # the nonzero part may be thin
        raise


def _check_shape(case: str, shape: Sequence[int], spacing_mm: Sequence[float], target_mm: Sequence[float]) -> None:
    target_mm = [*spacing_mm[: len(shape) - len(target_mm)], *target_mm]  # 2d keeps the distance of slices
    resampled = [int(n) for n in compute_new_shape(shape, spacing_mm, target_mm)]
    if 0 in resampled or math.prod(resampled) > MOST_VOXELS:
        raise CaseError(
            case,
            f"{format_size(shape)} voxels of {format_size(spacing_mm)} mm would become {format_size(resampled)} voxels "
            f"of {format_size(target_mm)} mm, which is what the model reads: is the spacing in "
            "the file's header right?",
        )
