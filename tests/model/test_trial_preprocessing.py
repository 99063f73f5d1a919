import pytest
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from magms_nnunet.environment.tiny_model import CONFIGURATION, dataset_json, plans
from magms_nnunet.model.trial_preprocessing import try_preprocessing


def try_with(change):
    content = plans(2)
    change(content, content["configurations"][CONFIGURATION])
    manager = PlansManager(content)
    try_preprocessing(manager, manager.get_configuration(CONFIGURATION), dataset_json(["T1", "T2"]))


def two_dimensional(plans, configuration):
    configuration["spacing"] = [0.7, 0.8]


def other_order_of_axes(plans, configuration):
    plans["transpose_forward"], plans["transpose_backward"] = [1, 2, 0], [2, 0, 1]
    configuration["spacing"] = [3.0, 0.5, 0.7]


def coarse(plans, configuration):
    configuration["spacing"] = [1000.0] * 3


def on_torch(plans, configuration):
    for kind in ("data", "seg", "probabilities"):
        configuration[f"resampling_fn_{kind}"] = "resample_torch_fornnunet"
        configuration[f"resampling_fn_{kind}_kwargs"] = {"is_seg": kind == "seg", "force_separate_z": False}


@pytest.mark.parametrize("change", [two_dimensional, other_order_of_axes, coarse, on_torch])
def test_plans_that_make_sense(change):
    try_with(change)


@pytest.mark.parametrize(
    "change",
    [
        lambda plans, configuration: configuration["resampling_fn_data_kwargs"].update(order2=1),
        lambda plans, configuration: configuration["resampling_fn_data_kwargs"].update(order="high"),
        lambda plans, configuration: configuration["resampling_fn_probabilities_kwargs"].update(is_seg2=False),
        lambda plans, configuration: configuration.update(resampling_fn_data="none_of_that_name"),
        lambda plans, configuration: configuration.update(preprocessor_name="NoPreprocessor"),
        lambda plans, configuration: configuration.update(normalization_schemes=["ZScoreNormalization", "None"]),
        lambda plans, configuration: plans.update(image_reader_writer="NoReader"),
        lambda plans, configuration: (
            configuration.update(normalization_schemes=["CTNormalization"] * 2)
            or plans["foreground_intensity_properties_per_channel"]["1"].pop("mean")
        ),
    ],
)
def test_plans_that_make_none(change):
    with pytest.raises((TypeError, ValueError, KeyError, AttributeError, RuntimeError)):
        try_with(change)
