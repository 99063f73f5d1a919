"""nnU-Net's preprocessing of a case that has some of the modalities."""

from copy import deepcopy

import numpy as np
from nnunetv2.utilities.label_handling.label_handling import convert_labelmap_to_one_hot
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from magms_nnunet import autoload
from magms_nnunet.cases import Case
from magms_nnunet.errors import CaseError
from magms_nnunet.modalities import Modalities, Subset

autoload.install()  # workers import this module, also where .pth files are not read


def plans_for_subset(plans: dict, subset: Subset) -> dict:
    """Plans of a dataset that has only these channels: what nnU-Net looks up by position then fits the files.

    Args:
        plans: content of plans.json, left as it is.
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
) -> tuple[np.ndarray, dict]:
    """Read and preprocess the files of a subset; no other file is opened.

    Args:
        case: its files; ``subset``: the channels to read.
        plans: of the model, for all modalities; ``configuration``: its name.
        dataset_json: of the model.
        previous_stage: segmentation by the previous stage of a cascade, a path.

    Returns:
        ``(len(subset) + extra, *spatial)`` float32, ``extra`` being the one-hot previous stage, and nnU-Net's
        properties, which tell how to undo the preprocessing.

    Raises:
        CaseError: a modality holds nothing but zeros, or NaN or infinite voxels.
    """
    plans_manager = PlansManager(plans_for_subset(plans, subset))
    configuration_manager = plans_manager.get_configuration(configuration)
    reader = plans_manager.image_reader_writer_class()
    images, properties = reader.read_images([str(case.files[channel]) for channel in subset])
    if len(images) != len(subset):
        raise CaseError(
            case.name, f"{len(subset)} files hold {len(images)} channels: give one file with one channel per modality"
        )
    for channel, image in zip(subset, images, strict=True):
        name = Modalities.from_dataset_json(dataset_json).names[channel]
        label = f"{case.files[channel].name} ({name})"
        if not image.any():
            raise CaseError(case.name, f"{label} holds only zeros: leave {name} out of --modalities")
        if not np.isfinite(image).all():
            count = np.count_nonzero(~np.isfinite(image))
            raise CaseError(case.name, f"{label} holds {count} NaN or infinite voxels: repair it, or leave {name} out")
    segmentation = None if previous_stage is None else reader.read_seg(previous_stage)[0]
    preprocessor = configuration_manager.preprocessor_class(verbose=False)
    data, segmentation, properties = preprocessor.run_case_npy(
        images, segmentation, properties, plans_manager, configuration_manager, dataset_json
    )
    if previous_stage is not None:
        labels = plans_manager.get_label_manager(dataset_json).foreground_labels
        data = np.vstack((data, convert_labelmap_to_one_hot(segmentation[0], labels, data.dtype)))
    return data, properties
