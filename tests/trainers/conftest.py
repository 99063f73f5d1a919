"""A trainer on plans that fit no data: everything but reading cases."""

import copy

import pytest
import torch

from magms_nnunet.trainers import MAGMSTrainer
from tests.networks.conftest import configuration

LABELS = {"background": 0, "edema": 1, "core": 2}
REGIONS = {"labels": {"background": 0, "whole": [1, 2], "core": 2}, "regions_class_order": [1, 2]}
RESAMPLED = ("data", "seg", "probabilities")
CHANNELS = {"0": "FLAIR", "1": "T1", "2": "T1c"}


def plans(dim: int = 3) -> dict:
    settings = configuration(len(CHANNELS), dim).configuration
    return {
        "dataset_name": "Dataset999_Nothing",
        "plans_name": "MAGMSPlans",
        "label_manager": "LabelManager",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "foreground_intensity_properties_per_channel": {channel: {} for channel in CHANNELS},
        "continue_training": False,
        "configurations": {
            "tiny": {
                **settings,
                "data_identifier": "tiny",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "batch_dice": True,
                "spacing": [1.0] * dim,
                "use_mask_for_norm": [True] * len(CHANNELS),
                **{f"resampling_fn_{kind}": "resample_data_or_seg_to_shape" for kind in RESAMPLED},
                **{f"resampling_fn_{kind}_kwargs": {} for kind in RESAMPLED},
            },
        },
    }


@pytest.fixture
def make_trainer(tmp_path, monkeypatch):
    """make_trainer(trainer_class=MAGMSTrainer, dim=3, cascade=False, **dataset_json) -> initialised, on the CPU."""
    for folder in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{folder}", str(tmp_path / folder))
    data = tmp_path / "preprocessed/Dataset999_Nothing/tiny"
    data.mkdir(parents=True)
    (data / "case.b2nd").touch()  # tells nnU-Net the format

    def make(trainer_class=MAGMSTrainer, dim=3, cascade=False, **dataset_json):
        dataset_json = {"labels": LABELS, "file_ending": ".nii.gz", "channel_names": CHANNELS, **dataset_json}
        torch.manual_seed(0)
        content = copy.deepcopy(plans(dim))
        if cascade:
            content["configurations"]["tiny"]["previous_stage"] = "low"
        trainer = trainer_class(content, "tiny", 0, dataset_json, torch.device("cpu"))
        trainer.initialize()
        return trainer

    return make


def batch(trainer, dim: int = 3) -> dict:
    """What nnU-Net's data loader returns: images and one target per scale."""
    generator = torch.Generator().manual_seed(1)
    data = torch.randn(2, trainer.num_input_channels, *[16] * dim, generator=generator)
    scales = [16, 8]
    manager = trainer.label_manager
    if manager.has_regions:
        channels = len(manager.foreground_regions) + manager.has_ignore_label
        target = [torch.randint(0, 2, (2, channels, *[s] * dim), generator=generator).float() for s in scales]
    else:
        top = 3 + manager.has_ignore_label
        target = [torch.randint(0, top, (2, 1, *[s] * dim), generator=generator).float() for s in scales]
    return {"data": data, "target": target}
