import numpy as np
import pytest
import SimpleITK as sitk

from magms_nnunet.errors import CaseError
from magms_nnunet.images.cases import Case
from magms_nnunet.preprocessing.subset import plans_for_subset, preprocess_case

PLANS = {
    "image_reader_writer": "SimpleITKIO",
    "configurations": {
        "3d_fullres": {
            "architecture": {},
            "normalization_schemes": ["A", "B", "C"],
            "use_mask_for_norm": [True, False, True],
        },
        "3d_cascade_fullres": {"inherits_from": "3d_fullres"},
    },
    "foreground_intensity_properties_per_channel": {"0": {"mean": 0}, "1": {"mean": 1}, "2": {"mean": 2}},
}


def test_a_channel_keeps_its_own_scheme_and_statistics_at_its_new_position():
    plans = plans_for_subset(PLANS, (1, 2))
    assert plans["configurations"]["3d_fullres"] == {
        "architecture": {},
        "normalization_schemes": ["B", "C"],
        "use_mask_for_norm": [False, True],
    }
    assert plans["configurations"]["3d_cascade_fullres"] == {"inherits_from": "3d_fullres"}
    assert plans["foreground_intensity_properties_per_channel"] == {"0": {"mean": 1}, "1": {"mean": 2}}


def test_the_models_plans_stay_as_they_are():
    before = repr(PLANS)
    plans_for_subset(PLANS, (2,))["configurations"]["3d_fullres"]["normalization_schemes"].append("X")
    assert repr(PLANS) == before


@pytest.mark.parametrize(
    ("value", "problem"), [(0, "only zeros"), (np.nan, "24 NaN or infinite"), (np.inf, "24 NaN or infinite")]
)
def test_voxels_that_cannot_be_segmented_are_an_error(tmp_path, value, problem):
    path = tmp_path / "p1_0001.mha"  # unlike NIfTI, it keeps NaN through SimpleITK
    sitk.WriteImage(sitk.GetImageFromArray(np.full((2, 3, 4), value, np.float32)), str(path))
    dataset_json = {"channel_names": {"0": "FLAIR", "1": "T1c", "2": "T2"}}
    with pytest.raises(CaseError, match=rf"p1: p1_0001.mha \(T1c\) holds {problem}"):
        preprocess_case(Case("p1", {1: path}), (1,), PLANS, "3d_fullres", dataset_json)


def test_images_of_other_readers_must_have_one_shape_and_one_channel(tmp_path):
    """check_files does not look into PNG."""
    plans = PLANS | {"image_reader_writer": "NaturalImage2DIO"}
    dataset_json = {"channel_names": {"0": "FLAIR", "1": "T1c", "2": "T2"}}
    paths = {channel: tmp_path / f"p1_{channel:04d}.png" for channel in range(3)}
    noise = np.random.default_rng(0).integers(0, 255, (8, 9, 3), np.uint8)
    for path, image in zip(paths.values(), (noise[..., 0], noise[:7, :, 0], noise), strict=True):
        sitk.WriteImage(sitk.GetImageFromArray(image, isVector=image.ndim == 3), str(path))
    for subset, problem in (
        ((0, 1), r"p1: p1_0001.png has 9x7x1 voxels, p1_0000.png has 9x8x1: resample them to one grid$"),
        ((2,), r"p1: p1_0002.png holds 3 channels: give one file with one channel per modality"),
    ):
        with pytest.raises(CaseError, match=problem):
            preprocess_case(Case("p1", paths), subset, plans, "3d_fullres", dataset_json)


def test_a_previous_stage_read_by_another_reader_lies_on_the_grid_of_the_images(tmp_path):
    """check_previous_stage does not look into PNG."""
    plans = PLANS | {"image_reader_writer": "NaturalImage2DIO", "label_manager": "LabelManager"}
    dataset_json = {"channel_names": {"0": "FLAIR", "1": "T1c", "2": "T2"}, "labels": {"background": 0, "tumour": 1}}
    image, previous = tmp_path / "p1_0000.png", tmp_path / "p1.png"
    noise = np.random.default_rng(0).integers(0, 255, (8, 9), np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(image))
    sitk.WriteImage(sitk.GetImageFromArray(noise[:7] % 2), str(previous))
    problem = "p1: p1.png of the previous stage has 9x7x1 voxels, p1_0000.png has 9x8x1: predict that stage from these"
    with pytest.raises(CaseError, match=problem):
        preprocess_case(Case("p1", {0: image}), (0,), plans, "3d_fullres", dataset_json, str(previous))
