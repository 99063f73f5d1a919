"""A model's plans name functions and their arguments: call them on a handful of voxels before a patient comes."""

import numpy as np
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

SHAPE = (4, 6, 5)
_FINER = 1.5  # what the voxels' spacing is of the model's, so that there is something to resample


def try_preprocessing(
    plans_manager: PlansManager, configuration_manager: ConfigurationManager, dataset_json: dict
) -> None:
    """Preprocess a few voxels and resample the result back, as prediction does; this takes milliseconds.

    Args:
        plans_manager: of the model.
        configuration_manager: of the model.
        dataset_json: of the model.

    Raises:
        Exception: whatever nnU-Net raises for plans that make no sense.
    """
    plans_manager.image_reader_writer_class()
    target_mm = configuration_manager.spacing
    spacing_mm = [*target_mm[:1] * (3 - len(target_mm)), *(_FINER * mm for mm in target_mm)]
    in_file_order = [spacing_mm[plans_manager.transpose_forward.index(axis)] for axis in range(3)]
    voxels = np.random.default_rng(0).uniform(1, 2, (len(configuration_manager.normalization_schemes), *SHAPE))
    preprocessor = configuration_manager.preprocessor_class(verbose=False)
    data, _, properties = preprocessor.run_case_npy(
        voxels.astype(np.float32), None, {"spacing": in_file_order}, plans_manager, configuration_manager, dataset_json
    )
    before = properties["shape_after_cropping_and_before_resampling"]
    new_mm = [*spacing_mm[: 3 - len(target_mm)], *target_mm]
    configuration_manager.resampling_fn_probabilities(data[:1], before, new_mm, spacing_mm)
