from magms_nnunet.preprocessing.subset import plans_for_subset

PLANS = {
    "configurations": {
        "3d_fullres": {"normalization_schemes": ["A", "B", "C"], "use_mask_for_norm": [True, False, True]},
        "3d_cascade_fullres": {"inherits_from": "3d_fullres"},
    },
    "foreground_intensity_properties_per_channel": {"0": {"mean": 0}, "1": {"mean": 1}, "2": {"mean": 2}},
}


def test_a_channel_keeps_its_own_scheme_and_statistics_at_its_new_position():
    plans = plans_for_subset(PLANS, (1, 2))
    assert plans["configurations"]["3d_fullres"] == {
        "normalization_schemes": ["B", "C"],
        "use_mask_for_norm": [False, True],
    }
    assert plans["configurations"]["3d_cascade_fullres"] == {"inherits_from": "3d_fullres"}
    assert plans["foreground_intensity_properties_per_channel"] == {"0": {"mean": 1}, "1": {"mean": 2}}


def test_the_models_plans_stay_as_they_are():
    before = repr(PLANS)
    plans_for_subset(PLANS, (2,))["configurations"]["3d_fullres"]["normalization_schemes"].append("X")
    assert repr(PLANS) == before
