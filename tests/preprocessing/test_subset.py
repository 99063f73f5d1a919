import numpy as np
import pytest
import SimpleITK as sitk

from magms_nnunet.cases import Case
from magms_nnunet.errors import CaseError
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
