"""Row 23: files of different models in one folder."""

import shutil

import pytest
import torch

from magms_nnunet.errors import InputError
from magms_nnunet.model.model import load_model
from tests.faults.shared_models import CHECKPOINT, edit, home, in_checkpoint, run, spoilt, train  # noqa: F401 (fixtures)
from tests.faults.tiny import model  # noqa: F401 (a fixture)

FILES = "dataset.json and fold_0/checkpoint_final.pth disagree on"
PLANS = "plans.json and fold_0/checkpoint_final.pth disagree on"


def tiny(change):
    return lambda plans: change(plans["configurations"]["tiny"])


def drop_last_modality(folder):
    def drop(configuration):
        configuration["normalization_schemes"].pop()
        configuration["use_mask_for_norm"].pop()

    edit(folder / "plans.json", tiny(drop))
    edit(folder / "dataset.json", lambda content: content["channel_names"].pop("3"))


def circle():
    """A dictionary that holds itself."""
    value = {}
    value["channel_names"] = value
    return value


def in_file(file, change):
    return lambda folder: edit(folder / file, change)


@pytest.mark.fault(23)
@pytest.mark.parametrize(
    ("mix", "says"),
    [
        (
            drop_last_modality,
            "checkpoint_final.pth does not fit dataset.json beside it: it holds 4 encoders for 3 modal",
        ),
        (
            in_file("dataset.json", lambda content: content["channel_names"].pop("3")),
            "plans.json is for 4 modalities, dataset.json names 3",
        ),
        (
            in_file("dataset.json", lambda content: content["channel_names"].update({"0": "T1", "1": "FLAIR"})),
            f"{FILES} channel_names: {{'0': 'T1', '1': 'FLAIR'",
        ),
        (
            in_file("dataset.json", lambda content: content.update(labels={"background": 0, "a": 1, "b": 2})),
            f"{FILES} labels: {{'background': 0, 'a': 1, 'b': 2}} and {{'background': 0, 'label1': 1",
        ),
        (in_file("plans.json", tiny(lambda tiny: tiny.update(spacing=[2, 1, 1]))), f"{PLANS} spacing: [2, 1, 1] and"),
        (
            in_file("plans.json", tiny(lambda tiny: tiny.update(normalization_schemes=["ZScoreNormalization"] * 4))),
            f"{PLANS} normalization_schemes",
        ),
        (
            in_file(
                "plans.json",
                tiny(lambda tiny: tiny["architecture"]["arch_kwargs"].update(strides=[[1] * 3, [1] * 3, [2] * 3])),
            ),
            f"{PLANS} architecture",
        ),
        (
            in_file(
                "plans.json", lambda plans: plans.update(transpose_forward=[2, 1, 0], transpose_backward=[2, 1, 0])
            ),
            f"{PLANS} transpose_forward: [2, 1, 0] and [0, 1, 2]",
        ),
        (
            in_file("plans.json", lambda plans: plans.update(image_reader_writer="NibabelIOWithReorient")),
            f"{PLANS} image_reader_writer: 'NibabelIOWithReorient' and 'SimpleITKIO'",
        ),
        (
            in_file("plans.json", tiny(lambda tiny: tiny.update(preprocessor_name="Other"))),
            f"{PLANS} preprocessor_name: 'Other' and 'DefaultPreprocessor'",
        ),
        (
            in_file(
                "plans.json", tiny(lambda tiny: tiny.update(resampling_fn_data="no_resampling_data_or_seg_to_shape"))
            ),
            f"{PLANS} resampling_fn_data: 'no_",
        ),
        (
            in_file("plans.json", tiny(lambda tiny: tiny["resampling_fn_probabilities_kwargs"].update(order=0))),
            f"{PLANS} resampling_fn_probabilities_kwargs: ",
        ),
        (
            in_file("plans.json", lambda plans: plans.update(plans_name="OtherPlans")),
            "the folder's name and plans.json disagree on the plans: 'MAGMSPlans' and 'OtherPlans'",
        ),
        (
            in_checkpoint(trainer_name="MAGTrainer"),
            "fold_0/checkpoint_final.pth disagree on the trainer: 'MAGMSTrainer' and 'MAGTrainer'",
        ),
        (
            in_checkpoint(init_args={"configuration": "2d"}),
            "was trained in configuration '2d', and",
        ),
        (
            in_checkpoint(init_args={"plans": {"configurations": 1}}),
            "checkpoint_final.pth disagree on transpose_forward",
        ),
        (in_checkpoint(init_args={"dataset_json": [1]}), "it should hold dataset.json, not a list"),
        (in_checkpoint(trainer_name="os.system"), "trainer_name is 'os.system'"),
        (in_checkpoint(network_weights=[1]), "network_weights is [1]"),
        (
            in_checkpoint(init_args={"dataset_json": circle()}),
            "is damaged: written out it would be of more than 2000000",
        ),
        (
            in_checkpoint(init_args={"dataset_json": {"channel_names": {(0,): "FLAIR"}}}),
            "its channel_names cannot be of a dataset.json",
        ),
        (in_checkpoint(inference_allowed_mirroring_axes=[torch.tensor([1, 2])]), "mirroring_axes is [tensor([1, 2])]"),
        (in_checkpoint(inference_allowed_mirroring_axes=7), "inference_allowed_mirroring_axes is 7"),
    ],
)
@pytest.mark.parametrize("command", ["predict", "export"])
def test_says_which_two_disagree(command, mix, says, run, spoilt, tmp_path):  # noqa: F811
    mix(spoilt)
    code, line = run(command)
    assert code == 2
    assert says in line
    output = tmp_path / "out"
    assert not output.exists() or not list(output.iterdir())


@pytest.mark.fault(23)
@pytest.mark.parametrize("files", [("plans.json", CHECKPOINT), ("plans.json",), (CHECKPOINT,)], ids=str)
def test_plans_with_the_key_of_an_older_nnunet_are_the_same_plans(files, run, spoilt, tmp_path):  # noqa: F811
    def rename(plans):
        plans["foreground_intensity_properties_by_modality"] = plans.pop("foreground_intensity_properties_per_channel")

    if "plans.json" in files:
        edit(spoilt / "plans.json", rename)
    if CHECKPOINT in files:
        content = torch.load(spoilt / CHECKPOINT, weights_only=False)
        rename(content["init_args"]["plans"])
        torch.save(content, spoilt / CHECKPOINT)
    if len(files) == 2:
        assert run("predict") == (0, "")
        assert (tmp_path / "out/case.nii.gz").exists()
    load_model(spoilt, [0])


@pytest.mark.fault(23)
def test_older_plans_that_differ_in_intensities_are_told_apart(spoilt):  # noqa: F811
    def rename(plans):
        changed = plans.pop("foreground_intensity_properties_per_channel")
        changed["0"]["mean"] += 1
        plans["foreground_intensity_properties_by_modality"] = changed

    edit(spoilt / "plans.json", rename)
    with pytest.raises(InputError, match="disagree on foreground_intensity_properties_per_channel"):
        load_model(spoilt, [0])


@pytest.mark.fault(23)
@pytest.mark.parametrize("name", ["MAGMSTrainer__ptPlans__X__tiny", "my_model", "MAGMSTrainer__tiny"])
def test_plans_may_have_two_underscores_in_their_name(name, spoilt):  # noqa: F811
    edit(spoilt / "plans.json", lambda plans: plans.update(plans_name="ptPlans__X"))
    assert load_model(spoilt.rename(spoilt.with_name(name)), [0]).plans["plans_name"] == "ptPlans__X"


@pytest.mark.fault(23)
def test_folder_of_other_plans_with_two_underscores(spoilt):  # noqa: F811
    edit(spoilt / "plans.json", lambda plans: plans.update(plans_name="ptPlans__X"))
    with pytest.raises(InputError, match="disagree on the plans: 'ptPlans__Y' and 'ptPlans__X'"):
        load_model(spoilt.rename(spoilt.with_name("MAGMSTrainer__ptPlans__Y__tiny")), [0])


@pytest.mark.fault(23)
@pytest.mark.parametrize("flag", ["--c", "--val"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"trainer_name": "MAGTrainer"}, "is of trainer 'MAGTrainer', not 'MAGMSTrainer'"),
        ({"init_args": {"configuration": "3d_lowres"}}, "is of configuration '3d_lowres', not 'tiny'"),
        ({"init_args": {"configuration": None}}, "is of configuration None, not 'tiny'"),
        ({"init_args": {"fold": 1}}, "is of fold 1, not 0"),
        ({"network_weights": {}}, "holds other layers than MAGMSTrainer builds"),
        (
            {"optimizer_state": {"state": {}, "param_groups": [{"params": [0, 1]}]}},
            "was trained with another optimizer than MAGMSTrainer's Muon",
        ),
    ],
)
def test_training_is_not_continued_from_that_of_another(flag, change, says, train, spoilt):  # noqa: F811
    in_checkpoint(**change)(spoilt)
    before = (spoilt / CHECKPOINT).read_bytes()
    with pytest.raises(InputError, match=f"{CHECKPOINT} {says}: move it away"):
        train(flag)
    assert (spoilt / CHECKPOINT).read_bytes() == before


@pytest.mark.fault(23)
def test_checkpoint_of_another_trainer_in_a_folder_of_any_name(run, spoilt, tmp_path):  # noqa: F811
    in_checkpoint(trainer_name="nnUNetTrainer")(spoilt)
    shutil.copytree(spoilt, tmp_path / "copy")
    code, line = run("predict", "-m", tmp_path / "copy")
    assert code == 2
    assert "holds other layers than nnUNetTrainer builds" in line


@pytest.mark.fault(23)
def test_folds_of_different_trainers(run, spoilt, tmp_path):  # noqa: F811
    shutil.copytree(spoilt, tmp_path / "copy")
    shutil.copytree(spoilt / "fold_0", tmp_path / "copy" / "fold_1")
    in_checkpoint(trainer_name="MAGTrainer")(tmp_path / "copy")
    code, line = run("predict", "-m", tmp_path / "copy", "-f", "0", "1")
    assert code == 2
    assert f"{tmp_path}/copy/fold_1/checkpoint_final.pth and {tmp_path}/copy/{CHECKPOINT} disagree on trainer" in line


@pytest.mark.fault(23)
@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        ("dataset.json", lambda content: content.update(labels={"background": 0, "a": 1, "b": 2}), "labels: .*'a': 1"),
        ("dataset.json", lambda content: content["channel_names"].update({"0": "T1", "1": "FLAIR"}), "channel_names: "),
        ("MAGMSPlans.json", tiny(lambda tiny: tiny.update(spacing=[2, 1, 1])), r"spacing: \[2, 1, 1\] and \[1"),
        (
            "MAGMSPlans.json",
            tiny(lambda tiny: tiny["architecture"]["arch_kwargs"].update(features_per_stage=[4, 4, 6])),
            "architecture: ",
        ),
        (
            "MAGMSPlans.json",
            tiny(lambda tiny: tiny["resampling_fn_seg_kwargs"].update(order=3)),
            "resampling_fn_seg_kwargs: ",
        ),
    ],
    ids=["labels", "modalities", "spacing", "architecture", "resampling"],
)
@pytest.mark.parametrize("flag", ["--c", "--val"])
def test_training_that_is_continued_with_other_data_or_plans(flag, file, change, says, train, spoilt):  # noqa: F811
    edit(spoilt.parent / file, change)
    files = [spoilt / name for name in ("dataset.json", "plans.json", CHECKPOINT)]
    before = [path.read_bytes() for path in files]
    with pytest.raises(InputError, match=f"json and .*checkpoint_final.pth disagree on {says}"):
        train(flag)
    assert [path.read_bytes() for path in files] == before


@pytest.mark.fault(23)
def test_patch_size_may_be_changed_for_prediction(run, spoilt):  # noqa: F811
    edit(spoilt / "plans.json", tiny(lambda tiny: tiny.update(patch_size=[8, 8, 8])))
    assert run("predict")[0] == 0
