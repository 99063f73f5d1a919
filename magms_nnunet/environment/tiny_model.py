"""A model that is made, trained for a step and used within seconds, with all of nnU-Net's code and without data."""

import json
import traceback
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from magms_nnunet.environment.finding import FAIL, OK, Finding, one_line

CONFIGURATION = "tiny"
PATCH = (16, 16, 16)
NAMES = ("A", "B")
SHAPE = (19, 17, 18)  # larger than the patch, so that the window slides
SPACING_MM = (1.0, 1.5, 1.0)
_RESAMPLING = {"order": 1, "order_z": 0, "force_separate_z": None}
_STATISTICS = ("max", "mean", "median", "min", "percentile_00_5", "percentile_99_5", "std")


def dataset_json(names: Sequence[str], classes: int = 2) -> dict:
    """Return the content of dataset.json with these modalities, a background and ``classes - 1`` labels."""
    return {
        "channel_names": {str(channel): name for channel, name in enumerate(names)},
        "labels": {"background": 0} | {f"label{label}": label for label in range(1, classes)},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }


def plans(modalities: int) -> dict:
    """Return the content of plans.json, as MAGMSPlanner writes it, for that number of modalities."""
    statistics = dict.fromkeys(_STATISTICS, 0.0) | {"std": 1.0}
    return {
        "dataset_name": "Dataset999_Tiny",
        "plans_name": "MAGMSPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {
            CONFIGURATION: {
                "data_identifier": CONFIGURATION,
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "batch_dice": False,
                "patch_size": list(PATCH),
                "median_image_size_in_voxels": list(PATCH),
                "spacing": [1.0, 1.0, 1.0],
                "normalization_schemes": ["OwnSupportZScoreNormalization"] * modalities,
                "use_mask_for_norm": [True] * modalities,
                "resampling_fn_data": "resample_data_or_seg_to_shape",
                "resampling_fn_data_kwargs": {"is_seg": False, **_RESAMPLING},
                "resampling_fn_seg": "resample_data_or_seg_to_shape",
                "resampling_fn_seg_kwargs": {"is_seg": True, **_RESAMPLING},
                "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
                "resampling_fn_probabilities_kwargs": {"is_seg": False, **_RESAMPLING},
                "architecture": {
                    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
                    "arch_kwargs": {
                        "n_stages": 3,  # with two, nnU-Net gives the only output a weight of 0 / 0
                        "features_per_stage": [4, 4, 4],
                        "conv_op": "torch.nn.modules.conv.Conv3d",
                        "kernel_sizes": [[3, 3, 3]] * 3,
                        "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
                        "n_conv_per_stage": [1, 1, 1],
                        "n_conv_per_stage_decoder": [1, 1],
                        "conv_bias": True,
                        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
                        "dropout_op": None,
                        "dropout_op_kwargs": None,
                        "nonlin": "torch.nn.LeakyReLU",
                        "nonlin_kwargs": {"inplace": True},
                    },
                    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
                },
            }
        },
        "experiment_planner_used": "MAGMSPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(m): dict(statistics) for m in range(modalities)},
    }


def make_tiny_model(
    home: Path,
    names: Sequence[str],
    *,
    classes: int = 2,
    trainer: str = "MAGMSTrainer",
    device: torch.device | str = "cpu",
) -> tuple[Path, float]:
    """Train one step on noise, with nnU-Net's look-up, trainer, loss and checkpoint.

    Args:
        home: value of nnUNet_preprocessed and nnUNet_results.
        names: of the modalities.
        classes: number of labels, with the background.
        trainer: class name.
        device: of the training.

    Returns:
        The model's folder, and the loss of the step.
    """
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    from magms_nnunet import autoload

    autoload.install()  # where the .pth file is not read, which is a finding of its own
    content, dataset = plans(len(names)), dataset_json(names, classes)
    data = home / content["dataset_name"] / CONFIGURATION
    data.mkdir(parents=True, exist_ok=True)
    (data / "case.b2nd").touch()  # tells nnU-Net the format
    made = recursive_find_trainer_class_by_name(trainer)(
        content | {"continue_training": False}, CONFIGURATION, 0, dataset, torch.device(device)
    )
    made.initialize()
    made.network.train()
    images = torch.randn(2, len(names), *PATCH)
    target = torch.randint(0, classes, (2, 1, *PATCH)).float()
    scales = [target, target[..., ::2, ::2, ::2]]  # deep supervision
    loss = float(made.train_step({"data": images, "target": scales})["loss"])
    made.inference_allowed_mirroring_axes = (0, 1, 2)
    folder = Path(made.output_folder_base)
    made.save_checkpoint(str(folder / "fold_0" / "checkpoint_final.pth"))
    (folder / "plans.json").write_text(json.dumps(content))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    return folder, loss


def self_test(home: Path, device: str) -> Finding:
    """Train a step, then predict from the first modality and from all modalities.

    Args:
        home: an empty folder that nnUNet_preprocessed and nnUNet_results point to.
        device: ``cpu`` or ``cuda``.
    """
    subject, start = "self-test", perf_counter()
    try:
        problem = _problem(home, device)
    except Exception as error:
        traceback.print_exc()  # seen with --debug
        return Finding(FAIL, subject, f"on {device}: {one_line(error)}", "magms_doctor --debug shows where")
    if problem:
        return Finding(FAIL, subject, f"on {device}: {problem}", "install the tested versions (constraints.txt)")
    seconds = perf_counter() - start
    return Finding(
        OK, subject, f"trained a step and predicted from one and from all modalities on {device}, {seconds:.0f} s"
    )


def _problem(home: Path, device: str) -> str | None:
    from magms_nnunet.inference.predictor import Predictor

    folder, loss = make_tiny_model(home, NAMES, device=device)
    if not isfinite(loss):
        return f"the loss of a training step is {loss}"
    predictor = Predictor(folder, device=device, mirroring=False)
    for names in (NAMES[:1], NAMES):
        problem = _problem_of_prediction(predictor, names)
        if problem:
            return f"prediction from {'+'.join(names)} {problem}"
    return None


def _problem_of_prediction(predictor, names: Sequence[str]) -> str | None:
    import SimpleITK as sitk

    rng = np.random.default_rng(0)
    images = {name: (rng.normal(100, 10, SHAPE).astype(np.float32), SPACING_MM) for name in names}
    labels = sitk.GetArrayFromImage(predictor.predict(images))
    if labels.shape != SHAPE:
        return f"has shape {labels.shape} and not {SHAPE}"
    subset = tuple(range(len(names)))
    logits = predictor.predict_logits(torch.randn(len(names), *SHAPE), subset)
    if not torch.isfinite(logits).all():
        return "gives values that are not finite"
    return None
