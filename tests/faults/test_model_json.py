"""Row 20: plans.json and dataset.json that are hostile, or just not what they should be."""

import json

import pytest

from magms_nnunet.model import model as module
from tests.faults.shared_models import edit, edit_also_in_checkpoint, home, run, spoilt, train  # noqa: F401 (fixtures)
from tests.faults.tiny import model  # noqa: F401 (a fixture)
from tests.integration.workspace import files_in


def architecture(plans: dict) -> dict:
    return plans["configurations"]["tiny"]["architecture"]


def system(canary):
    """nnU-Net would call ``os.system(command=...)`` to make an activation."""

    def change(plans):
        kwargs = architecture(plans)["arch_kwargs"]
        kwargs |= {"nonlin": "os.system", "nonlin_kwargs": {"command": f"touch '{canary}'"}}

    return change


@pytest.mark.fault(20)
def test_a_class_path_that_runs_commands_is_refused(run, spoilt, tmp_path):  # noqa: F811
    edit_also_in_checkpoint(spoilt, "plans.json", system(tmp_path / "canary"))
    code, line = run("predict")
    assert code == 2
    assert "plans.json: nonlin is 'os.system', and only" in line
    assert not (tmp_path / "canary").exists()


@pytest.mark.fault(20)
def test_a_class_path_that_runs_commands_is_refused_in_training(train, home, spoilt, tmp_path):  # noqa: F811
    edit(home / spoilt.parent.name / "MAGMSPlans.json", system(tmp_path / "canary"))
    with pytest.raises(module.InputError, match=r"plans\.json: nonlin is 'os\.system'"):
        train()
    assert not (tmp_path / "canary").exists()


@pytest.mark.fault(20)
def test_without_the_list_it_would_run(spoilt, tmp_path, monkeypatch):  # noqa: F811
    """What is injected is a fault, not a fancy."""
    edit_also_in_checkpoint(spoilt, "plans.json", system(tmp_path / "canary"))
    for name in ("magms_nnunet.model.model", "magms_nnunet.networks.from_plans"):
        monkeypatch.setattr(f"{name}.check_architecture", lambda configuration: None)
    with pytest.raises(module.InputError):
        module.load_model(spoilt, [0])
    assert (tmp_path / "canary").exists()


def at(*keys, value):
    """Set what is at the end of these keys."""

    def change(content):
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


def without(*keys):
    def change(content):
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    return change


def regions(class_order, rest=3):
    """As many as the model has outputs."""
    labels = {"background": 0, "whole": [1, 2], "core": [2], "rest": rest}
    return lambda content: content.update(labels=labels, regions_class_order=class_order)


TINY = ("configurations", "tiny")
KWARGS = (*TINY, "architecture", "arch_kwargs")
PLANS = {
    "network class": (
        at(*TINY, "architecture", "network_class_name", value="os.system"),
        "network_class_name is 'os",
    ),
    "any kwarg": (at(*TINY, "architecture", "_kw_requires_import", value=["n_stages"]), "n_stages is 3, and only"),
    "hidden": (at(*KWARGS, "conv_op", value="torch.nn.modules.conv.os.system"), "conv_op is 'torch.nn.modules.conv.os"),
    "layers": (at(*KWARGS, "n_stages", value=10**9), "n_stages holds 1000000000; at most 20"),
    "features": (at(*KWARGS, "features_per_stage", value=[10**12] * 3), "features_per_stage holds 1000000000000"),
    "weights": (
        lambda plans: architecture(plans)["arch_kwargs"].update(
            features_per_stage=[8192] * 3, kernel_sizes=[[9, 9, 9]] * 3
        ),
        "weights, more than any real one",
    ),
    "infinite": (at(*KWARGS, "norm_op_kwargs", "eps", value=float("inf")), "norm_op_kwargs holds inf"),
    "unknown": (at(*KWARGS, "run", value="x"), "cannot build its network"),
    "patch": (at(*TINY, "patch_size", value=[10**6] * 3), "patch_size must be 2 or 3 numbers of voxels"),
    "patch type": (at(*TINY, "patch_size", value="large"), "patch_size must be 2 or 3 numbers of voxels, got 'large'"),
    "tiny spacing": (at(*TINY, "spacing", value=[1e-300, 1, 1]), "spacing must be 2 or 3 sizes in mm"),
    "spacing type": (at(*TINY, "spacing", value=[True, 1, 1]), "spacing must be 2 or 3 sizes in mm"),
    "scheme": (at(*TINY, "normalization_schemes", value=["os.system"] * 4), "normalization_schemes must be names"),
    "masks": (at(*TINY, "use_mask_for_norm", value=[True]), "names more or fewer normalization_schemes"),
    "resampling": (at(*TINY, "resampling_fn_data", value="a.b"), "resampling_fn_data must be a name"),
    "reader": (at("image_reader_writer", value=None), "image_reader_writer must be a name"),
    "transpose": (at("transpose_forward", value=[0, 0, 7]), "transpose_forward must be an order of the axes"),
    "transpose back": (
        at("transpose_backward", value=[2, 1, 0]),
        "transpose_backward [2, 1, 0] does not undo transpose_forward [0, 1, 2]",
    ),
    "configurations": (at("configurations", value=[]), "configurations must be an object, got []"),
    "configuration": (at(*TINY, value="x"), "configurations.tiny must be an object, got 'x'"),
    "circle": (at(*TINY, "inherits_from", value="tiny"), "does not describe 'tiny'"),
    "no spacing": (without(*TINY, "spacing"), "lacks configurations.tiny.spacing"),
    "no architecture": (without(*TINY, "architecture"), "does not describe 'tiny'"),
    "no class": (without(*TINY, "architecture", "network_class_name"), "does not describe 'tiny'"),
    "no stages": (without(*KWARGS, "n_stages"), "arch_kwargs describes no U-Net"),
    "no name": (without("dataset_name"), "lacks dataset_name"),
}
DATASET = {
    "labels": (at("labels", value=[0, 1]), "labels must be names and numbers"),
    "no labels": (without("labels"), "labels must be names and numbers"),
    "no background": (at("labels", value={"a": 1}), "background 0"),
    "enormous": (at("labels", "label1", value=10**12), "must be a number from 0 to 65535"),
    "label type": (at("labels", "label1", value={"a": 1}), "must be a number from 0 to 65535"),
    "region": (at("labels", "label1", value=[1, 2]), "cannot build its network"),
    "region undeclared": (regions([1, 77]), "regions_class_order must list numbers that labels holds, got [1, 77]"),
    "region that 8 bits do not hold": (
        regions([1, 2, 300], rest=300),
        "regions_class_order holds 300, and nnU-Net would",
    ),
    "region type": (regions([1, [2]]), "regions_class_order must list numbers that labels holds, got [1, [2]]"),
    "regions type": (regions("12"), "regions_class_order must list numbers that labels holds, got '12'"),
    "regions number": (regions([1]), "cannot build its network"),
    "channels": (at("channel_names", value="all"), "channel_names must number the modalities"),
    "channel path": (at("channel_names", "0", value="../../up"), "channel_names holds '../../up'"),
    "ending": (at("file_ending", value="/../../up.nii.gz"), "file_ending must be something like .nii.gz"),
    "no ending": (without("file_ending"), "file_ending must be something like .nii.gz, got None"),
}


@pytest.mark.fault(20)
@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        *(pytest.param("plans.json", *values, id=f"plans: {name}") for name, values in PLANS.items()),
        *(pytest.param("dataset.json", *values, id=f"dataset: {name}") for name, values in DATASET.items()),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(file, change, says, run, spoilt, tmp_path):  # noqa: F811
    edit_also_in_checkpoint(spoilt, file, change)
    code, line = run("predict")
    assert code == 2
    assert says in line
    assert file in line
    assert len(line) < 500
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.fault(20)
@pytest.mark.parametrize("file", ["plans.json", "dataset.json"])
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "must hold a JSON object"),
        ("[" * 10**5, "is not valid JSON"),
        ('{"a": 1' + "0" * 5000 + "}", "is not valid JSON"),
    ],
    ids=["a list", "deep", "a number of 5000 digits"],
)
def test_other_json_is_refused_in_one_line(file, text, says, run, spoilt):  # noqa: F811
    (spoilt / file).write_text(text)
    code, line = run("predict")
    assert code == 2
    assert f"{file} {says}" in line


@pytest.mark.fault(20)
@pytest.mark.parametrize("file", ["plans.json", "dataset.json"])
def test_folder_in_place_of_a_file(file, run, spoilt):  # noqa: F811
    (spoilt / file).unlink()
    (spoilt / file).mkdir()
    code, line = run("predict")
    assert code == 2
    assert f"{spoilt / file} cannot be read (Is a directory): copy it again" in line


@pytest.mark.fault(20)
@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        ("dataset.json", at("channel_names", "0", value="DWI/b0"), "channel_names holds 'DWI/b0'"),
        ("dataset.json", at("channel_names", "0", value=""), "channel_names holds ''"),
        ("dataset.json", at("channel_names", "0", value="T1\nw"), "channel_names holds 'T1"),
        ("dataset.json", at("labels", "label1", value=70000), "must be a number from 0 to 65535"),
        ("MAGMSPlans.json", at("transpose_backward", value=[1, 2, 0]), "transpose_backward [1, 2, 0] does not undo"),
    ],
)
def test_what_no_command_would_load_is_not_trained(file, change, says, train, home, spoilt):  # noqa: F811
    edit(home / spoilt.parent.name / file, change)
    with pytest.raises(module.InputError) as error:
        train()
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.fault(20)
def test_regions_and_turned_axes_pass(run, spoilt):  # noqa: F811
    edit_also_in_checkpoint(spoilt, "dataset.json", regions([1, 2, 3]))
    turned = {"transpose_forward": [1, 2, 0], "transpose_backward": [2, 0, 1]}
    edit_also_in_checkpoint(spoilt, "plans.json", lambda plans: plans.update(turned))
    assert run("predict") == (0, "")


@pytest.mark.fault(20)
def test_the_real_ones_pass(run, spoilt):  # noqa: F811
    assert json.loads((spoilt / "plans.json").read_text())["plans_name"] == "MAGMSPlans"
    assert run("predict")[0] == 0


@pytest.mark.fault(22)
def test_damaged_evaluation_beside_the_model_is_said_before_anything_is_written(run, spoilt, tmp_path):  # noqa: F811
    (spoilt / "magms_expected_dice.json").write_text('{"subsets": 1}')
    code, line = run("predict")
    assert code == 2
    assert "magms_expected_dice.json is damaged: remove it, or run magms_evaluate --attach again" in line
    assert files_in(tmp_path / "out") <= {"magms_predict.log"}
