import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from magms_nnunet.errors import InputError, InputWarning
from magms_nnunet.networks.from_plans import build_multi_encoder_unet
from magms_nnunet.planners import (
    MAGMSPlanner,
    MAGMSPlannerResEncL,
    MAGMSPlannerResEncM,
    MAGMSPlannerResEncXL,
)

DATASET = "Dataset998_Planned"


@pytest.fixture(autouse=True)
def _no_weights():
    """Networks are built here to be counted, not to be used."""
    with torch.device("meta"):
        yield


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    """dataset(channels, shape, relative_size) -> a dataset with a fingerprint like BraTS's, without its images."""
    for folder in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{folder}", str(tmp_path / folder))

    def make(channels=("FLAIR", "T1", "T1c", "T2"), shape=(139, 170, 138), relative_size=0.36):
        raw, preprocessed = tmp_path / "raw" / DATASET, tmp_path / "preprocessed" / DATASET
        (raw / "imagesTr").mkdir(parents=True)
        (raw / "labelsTr").mkdir()
        label = sitk.GetImageFromArray(np.ones((4, 4, 4), np.uint8))
        sitk.WriteImage(label, str(raw / "labelsTr/case.nii.gz"))
        preprocessed.mkdir(parents=True)
        for channel in range(len(channels)):
            image = sitk.GetImageFromArray(np.arange(1, 65, dtype=np.float32).reshape(4, 4, 4))
            sitk.WriteImage(image, str(raw / f"imagesTr/case_{channel:04d}.nii.gz"))
        dataset_json = {
            "channel_names": {str(i): name for i, name in enumerate(channels)},
            "labels": {"background": 0, "a": 1, "b": 2, "c": 3},
            "numTraining": 484,
            "file_ending": ".nii.gz",
        }
        fingerprint = {
            "spacings": [[1.0, 1.0, 1.0]],
            "shapes_after_crop": [shape],
            "median_relative_size_after_cropping": relative_size,
            "foreground_intensity_properties_per_channel": {str(i): {} for i in range(len(channels))},
        }
        (raw / "dataset.json").write_text(json.dumps(dataset_json))
        (preprocessed / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
        return DATASET

    return make


def voxels(plans, configuration="3d_fullres"):
    return int(np.prod(plans["configurations"][configuration]["patch_size"]))


def training_size(plans, M):
    """Feature maps of one training pass of MAG-MS on these plans."""
    configuration = PlansManager(plans).get_configuration("3d_fullres")
    network = build_multi_encoder_unet(configuration, M, 4, True)
    return network.compute_conv_feature_map_size(tuple(configuration.patch_size))


def test_the_patch_fits_the_memory_that_was_asked_for(dataset):
    dataset()
    budget_8gb = ExperimentPlanner(DATASET).UNet_reference_val_3d
    default = MAGMSPlanner(DATASET).plan_experiment()
    small = MAGMSPlanner(DATASET, gpu_memory_target_in_gb=8).plan_experiment()
    stock = ExperimentPlanner(DATASET).plan_experiment()
    assert training_size(default, 4) <= 3 * budget_8gb
    assert training_size(small, 4) <= budget_8gb
    assert training_size(stock, 4) > 2 * budget_8gb  # nnU-Net's own estimate knows one encoder
    assert voxels(small) < voxels(default) == voxels(stock)
    assert default["plans_name"] == "MAGMSPlans"


@pytest.mark.parametrize("name", ["DWI/b0", "", "T1\nw"])
def test_what_no_command_would_load_is_not_planned(name, dataset):
    with pytest.raises(InputError, match=r"dataset\.json: channel_names holds .*: a name must be printable, without /"):
        MAGMSPlanner(dataset(channels=(name, "T1", "T1c", "T2")))


def test_plans_are_nnunets_but_for_normalisation_and_data_folder(dataset):
    dataset()
    plans = MAGMSPlanner(DATASET).plan_experiment()
    fullres = plans["configurations"]["3d_fullres"]
    assert fullres["architecture"]["network_class_name"].endswith("unet.PlainConvUNet")
    assert fullres["normalization_schemes"] == ["OwnSupportZScoreNormalization"] * 4
    assert fullres["use_mask_for_norm"] == [True] * 4
    assert fullres["data_identifier"] == "MAGMSPlans_3d_fullres"
    assert fullres["preprocessor_name"] == "DefaultPreprocessor"


def test_schemes_with_fixed_constants_stay_nnunets(dataset):
    dataset(("CT", "noNorm", "rescale_to_0_1", "T2"), relative_size=0.9)
    plans = MAGMSPlanner(DATASET, plans_name="Mine").plan_experiment()
    assert plans["configurations"]["3d_fullres"]["normalization_schemes"] == [
        "CTNormalization",
        "NoNormalization",
        "OwnSupportRescaleTo01Normalization",
        "OwnSupportZScoreNormalization",
    ]
    assert plans["configurations"]["3d_fullres"]["use_mask_for_norm"] == [False] * 4
    assert plans["plans_name"] == "Mine"


@pytest.mark.parametrize(
    ("planner", "name", "gb"),
    [
        (MAGMSPlannerResEncM, "MAGMSResEncUNetMPlans", 24),
        (MAGMSPlannerResEncL, "MAGMSResEncUNetLPlans", 40),
        (MAGMSPlannerResEncXL, "MAGMSResEncUNetXLPlans", 80),
    ],
)
@pytest.mark.filterwarnings("error")
def test_residual_encoder_planners(dataset, planner, name, gb):
    dataset(("T1", "T2"), shape=(64, 64, 64))
    instance = planner(DATASET)
    assert instance.UNet_vram_target_GB == gb
    plans = instance.plan_experiment()
    fullres = plans["configurations"]["3d_fullres"]
    assert plans["plans_name"] == name
    assert fullres["architecture"]["network_class_name"].endswith("ResidualEncoderUNet")
    assert fullres["data_identifier"] == f"{name}_3d_fullres"
    assert planner(DATASET, gpu_memory_target_in_gb=12).UNet_vram_target_GB == 12


def test_untested_nnunet_is_warned_of(dataset, monkeypatch):
    monkeypatch.setattr("magms_nnunet.nnunet.version.version", {"nnunetv2": "2.9.0"}.get)
    with pytest.warns(InputWarning, match=r"^nnunetv2 2\.9\.0 is untested, 2\.8\.1 is tested: "):
        MAGMSPlanner(dataset(("T1",)))


def test_one_modality_is_planned_close_to_nnunet(dataset):
    dataset(("T1",))
    ours = MAGMSPlanner(DATASET, gpu_memory_target_in_gb=8).plan_experiment()
    stock = ExperimentPlanner(DATASET).plan_experiment()
    assert 0.4 * voxels(stock) < voxels(ours) <= voxels(stock)


def test_plans_keep_what_each_channel_looks_like(dataset, tmp_path):
    """Of noise: its percentiles are those of the normal distribution. The image of one value has nothing to show."""
    name = dataset(channels=("FLAIR", "T1"))
    rng = np.random.default_rng(0)
    for case in range(5):
        for channel in range(2):
            image = sitk.GetImageFromArray(rng.normal(1000, 10, (20, 20, 20)).astype(np.float32))
            sitk.WriteImage(image, str(tmp_path / f"raw/{name}/imagesTr/noise{case}_{channel:04d}.nii.gz"))
        sitk.WriteImage(sitk.Cast(image, sitk.sitkUInt8), str(tmp_path / f"raw/{name}/labelsTr/noise{case}.nii.gz"))
    MAGMSPlanner(name).plan_experiment()
    learned = json.loads((tmp_path / f"preprocessed/{name}/MAGMSPlans.json").read_text())["magms_appearance"]
    assert sorted(learned) == ["0", "1"]
    for channel in learned.values():
        assert channel["cases"] == 5
        assert channel["mean"] == pytest.approx([-1.645, -1.282, -0.674, 0, 0.674, 1.282, 1.645], abs=0.05)
