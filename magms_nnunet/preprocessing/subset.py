"""nnU-Net's preprocessing of a case that has some of the modalities."""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
from nnunetv2.imageio.base_reader_writer import BaseReaderWriter
from nnunetv2.utilities.label_handling.label_handling import convert_labelmap_to_one_hot
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from magms_nnunet import autoload
from magms_nnunet.errors import CaseError
from magms_nnunet.images.cases import Case
from magms_nnunet.images.checks import STRICT, InputChecks
from magms_nnunet.images.grid import check_same_grid
from magms_nnunet.images.labels import format_values, fractional_note, whole_labels
from magms_nnunet.modalities import Modalities, Subset
from magms_nnunet.preprocessing.reading import grid_of_reader, read_voxels
from magms_nnunet.preprocessing.resampling import run_preprocessor

autoload.install()  # workers import this module, also where .pth files are not read


def plans_for_subset(plans: dict, subset: Subset) -> dict:
    """Return the plans of a dataset that has only these channels, so that nnU-Net's look-ups by position fit the files.

    Args:
        plans: content of plans.json, which is not changed.
        subset: channels, in order.
    """
    reduced = deepcopy(plans)
    for configuration in reduced["configurations"].values():
        for per_channel in ("normalization_schemes", "use_mask_for_norm"):
            if per_channel in configuration:  # not where it is inherited
                configuration[per_channel] = [configuration[per_channel][channel] for channel in subset]
    intensities = reduced["foreground_intensity_properties_per_channel"]
    reduced["foreground_intensity_properties_per_channel"] = {
        str(position): intensities[str(channel)] for position, channel in enumerate(subset)
    }
    return reduced


def preprocess_case(
    case: Case,
    subset: Subset,
    plans: dict,
    configuration: str,
    dataset_json: dict,
    previous_stage: str | None = None,
    checks: InputChecks = STRICT,
) -> tuple[np.ndarray, dict]:
    """Read and preprocess the files of a subset; no other file is opened.

    Args:
        case: the files.
        subset: the channels to read.
        plans: of the model, for all modalities.
        configuration: name of the configuration.
        dataset_json: of the model.
        previous_stage: segmentation by the previous stage of a cascade, a path.
        checks: which inputs are accepted.

    Returns:
        ``(len(subset) + extra, *spatial)`` float32, ``extra`` being the one-hot previous stage, and nnU-Net's
        properties, which are needed to undo the preprocessing.

    Raises:
        CaseError: a modality holds only zeros, or NaN or infinite voxels; the files do not lie on one grid; or the
            previous stage has labels that dataset.json does not declare.
    """
    plans_manager = PlansManager(plans_for_subset(plans, subset))
    configuration_manager = plans_manager.get_configuration(configuration)
    reader = plans_manager.image_reader_writer_class()
    images, properties = _read(reader, case, subset, checks.geometry_tolerance)
    _check_voxels(case, subset, images, Modalities.from_dataset_json(dataset_json), checks)
    label_manager = plans_manager.get_label_manager(dataset_json)
    segmentation = None
    if previous_stage is not None:
        label = f"{Path(previous_stage).name} of the previous stage"
        segmentation, of_segmentation = read_voxels(reader.read_seg, previous_stage, case.name, label)
        grids = grid_of_reader(segmentation.shape[1:], of_segmentation), grid_of_reader(images.shape[1:], properties)
        first, remedy = case.files[subset[0]].name, "predict that stage from these images"
        check_same_grid(case.name, label, grids[0], first, grids[1], checks.geometry_tolerance, remedy)
        segmentation = whole_labels(segmentation)
        _check_labels(case.name, label, segmentation, label_manager.all_labels)
    given = [images]
    del images  # run_preprocessor is to hold the only reference
    data, segmentation, properties = run_preprocessor(
        case.name, given, segmentation, properties, plans_manager, configuration_manager, dataset_json
    )
    if previous_stage is not None:
        data = np.vstack(
            (data, convert_labelmap_to_one_hot(segmentation[0], label_manager.foreground_labels, data.dtype))
        )
    return data, properties


def _check_labels(case: str, label: str, segmentation: np.ndarray, declared: Sequence[int]) -> None:
    """Check that the previous stage's labels are those of dataset.json."""
    if undeclared := sorted(set(np.unique(segmentation).tolist()) - {0, *declared}):
        found = f"[{format_values(undeclared)}]{fractional_note(undeclared)}"
        raise CaseError(
            case,
            f"{label} has labels {found}, which dataset.json does not declare: give the segmentation by this "
            "model's previous stage",
        )


def _check_voxels(case: Case, subset: Subset, images: np.ndarray, modalities: Modalities, checks: InputChecks) -> None:
    """Set NaN and infinite voxels to 0 where they are accepted; otherwise, and for an empty image, raise CaseError."""
    for channel, image in zip(subset, images, strict=True):
        name, label = modalities.names[channel], case.label(channel, modalities)
        if not (finite := np.isfinite(image)).all():
            if not checks.nan_to_zero:
                count = np.count_nonzero(~finite)
                raise CaseError(
                    case.name,
                    f"{label} holds {count} NaN or infinite voxels: repair it, leave {name} out, or count them as 0 "
                    "with --nan-to-zero",
                )
            image[~finite] = 0
        if not image.any():
            raise CaseError(case.name, f"{label} holds only zeros: leave {name} out of --modalities")


def _read(reader: BaseReaderWriter, case: Case, subset: Subset, tolerance: float) -> tuple[np.ndarray, dict]:
    """Read the files one by one, because nnU-Net's joint reader rejects spacings that differ by more than rounding.

    The grids of files that SimpleITK reads have been compared more closely by :mod:`magms_nnunet.images.cases`.
    """
    files = [case.files[channel] for channel in subset]
    read = (read_voxels(reader.read_images, [str(file)], case.name, file.name) for file in files)
    images, properties = zip(*read, strict=True)
    for channel, image, found in zip(subset, images, properties, strict=True):
        name, first = case.files[channel].name, case.files[subset[0]].name
        if len(image) != 1:
            raise CaseError(
                case.name, f"{name} holds {len(image)} channels: give one file with one channel per modality"
            )
        grid = grid_of_reader(image.shape[1:], found)
        check_same_grid(case.name, name, grid, first, grid_of_reader(images[0].shape[1:], properties[0]), tolerance)
    return np.concatenate(images), properties[0]
