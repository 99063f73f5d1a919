import json
import pickle
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from magms_nnunet.errors import InputError
from magms_nnunet.model.model import NETWORKS, load_model
from tests.trainers.conftest import batch, make_trainer, plans  # noqa: F401 a fixture


@pytest.fixture
def model(make_trainer, tmp_path):  # noqa: F811
    """A model folder as nnU-Net's training leaves it."""
    trainer = make_trainer()
    trainer.network.train()
    step = trainer.train_step(batch(trainer))
    for key, value in (("train_losses", np.mean(step["loss"])), ("lrs", 0.01)):  # the log holds numpy numbers
        trainer.logger.log(key, value, 0)
    trainer.inference_allowed_mirroring_axes = (0, 1, 2)
    folder = tmp_path / "MAGMSTrainer__MAGMSPlans__tiny"
    (folder / "fold_0").mkdir(parents=True)
    trainer.save_checkpoint(str(folder / "fold_0/checkpoint_final.pth"))
    (folder / "plans.json").write_text(json.dumps(plans()))
    (folder / "dataset.json").write_text(json.dumps(trainer.dataset_json))
    return folder


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_loads_what_training_saved(model):
    loaded = load_model(model, [0])
    assert loaded.modalities.names == ("FLAIR", "T1", "T1c")
    assert (loaded.trainer, loaded.configuration, loaded.mirror_axes) == ("MAGMSTrainer", "tiny", (0, 1, 2))
    assert not loaded.network.training
    assert len(loaded.fingerprint) == 64


def edit_checkpoint(model, change, fold=0):
    path = model / f"fold_{fold}/checkpoint_final.pth"
    content = torch.load(path, weights_only=False)
    change(content)
    torch.save(content, path)


def test_a_checkpoint_without_axes_to_mirror_is_loaded_as_nnunet_does(model):
    edit_checkpoint(model, lambda content: content.pop("inference_allowed_mirroring_axes"))
    assert load_model(model, [0]).mirror_axes is None


@pytest.mark.parametrize(
    ("starts", "ends", "seconds"),
    [
        ([10.0, np.float64(20)], [13.5, np.float64(21)], (3.5, 1.0)),
        ([10.0, 20.0], [13.5], (3.5,)),  # the second epoch has not ended
        ([], [], ()),
        (["x"], [1], ()),
        ([1.0], [float("nan")], ()),
        ([2.0], [1.0], ()),
        (None, 7, ()),
    ],
)
def test_the_epochs_that_led_to_the_weights_are_those_of_the_checkpoint(starts, ends, seconds, model):
    def log(content):
        content["logging"] = {"epoch_start_timestamps": starts, "epoch_end_timestamps": ends}

    edit_checkpoint(model, log)
    (model / "fold_0/training_log_2025_1_2_03_04_05.txt").write_text("Epoch time: 100.0 s\n")  # of a run before
    assert load_model(model, [0]).epoch_seconds == seconds
    shutil.copytree(model / "fold_0", model / "fold_1")
    assert load_model(model, [0, 1]).epoch_seconds == seconds * 2


@pytest.mark.parametrize("log", [None, [], "x", {}])
def test_a_log_that_is_none_is_no_reason_not_to_predict(log, model):
    edit_checkpoint(model, lambda content: content.update(logging=log))
    assert load_model(model, [0]).epoch_seconds == ()


def test_folds_are_found_and_the_fingerprint_is_of_all_of_them(model):
    first = load_model(model, None)
    shutil.copytree(model / "fold_0", model / "fold_1")
    both = load_model(model, None)
    assert (first.folds, both.folds) == (("0",), ("0", "1"))
    assert len(both.weights) == 2
    assert first.fingerprint != both.fingerprint


class Payload:
    """Pickled, it would write a file when it is loaded."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return (open, (str(self.canary), "w"))


def test_code_in_a_checkpoint_is_not_executed(model, tmp_path):
    path, canary = model / "fold_0/checkpoint_final.pth", tmp_path / "canary"
    content = torch.load(path, weights_only=False)
    torch.save({**content, "logging": Payload(canary)}, path)
    with pytest.raises(InputError, match=r"it holds io\.open, and only data is loaded"):
        load_model(model, [0])
    assert not canary.exists()


def damaged(path):
    path.write_bytes(path.read_bytes()[:1000])


def something_else(path):
    torch.save({"weights": torch.zeros(1)}, path)


def a_pickle(path):
    path.write_bytes(pickle.dumps([1, 2], protocol=2))


@pytest.mark.parametrize("spoil", [damaged, something_else, a_pickle])
def test_other_files_are_no_checkpoints(model, spoil):
    spoil(model / "fold_0/checkpoint_final.pth")
    with pytest.raises(InputError, match=r"checkpoint_final\.pth is .*not a checkpoint of nnU-Net"):
        load_model(model, [0])


def test_a_missing_fold_names_those_that_there_are(model):
    with pytest.raises(InputError, match=r"no checkpoint_final.pth for fold 1, 2: give -f 0"):
        load_model(model, [0, 1, 2])


def test_not_a_model_folder(tmp_path):
    with pytest.raises(InputError, match=r"has no plans.json"):
        load_model(tmp_path, [0])


def test_broken_json(model):
    (model / "plans.json").write_text("{")
    with pytest.raises(InputError, match=r"plans.json is not valid JSON"):
        load_model(model, [0])


def test_plans_and_dataset_json_of_different_models(model):
    edit(model / "dataset.json", lambda content: content["channel_names"].update({"3": "T2"}))
    with pytest.raises(InputError, match=r"plans.json is for 3 modalities, dataset.json names 4"):
        load_model(model, [0])


def test_weights_of_another_model(model):
    edit(model / "dataset.json", lambda content: content["channel_names"].update({"3": "T2"}))

    def one_more(content):
        content["configurations"]["tiny"]["normalization_schemes"].append("ZScoreNormalization")
        content["configurations"]["tiny"]["use_mask_for_norm"].append(True)

    edit(model / "plans.json", one_more)
    with pytest.raises(InputError, match=r"it holds 3 encoders for 4 modalities"):
        load_model(model, [0])


def test_weights_of_another_trainer(model):
    path = model / "fold_0/checkpoint_final.pth"
    torch.save({**torch.load(path, weights_only=False), "trainer_name": "nnUNetTrainer"}, path)
    with pytest.raises(InputError, match=r"it holds other layers than nnUNetTrainer builds"):
        load_model(model.rename(model.parent / "nnUNetTrainer__MAGMSPlans__tiny"), [0])


@pytest.mark.parametrize("numpy_module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_checkpoints_of_either_numpy_are_read(model, numpy_module):
    """Numbers of nnU-Net's log are pickled under a name that numpy 2 changed."""
    path = model / "fold_0/checkpoint_final.pth"
    ours = np.float64(0).__reduce__()[0].__module__.encode()
    with zipfile.ZipFile(path) as archive:
        content = {entry: archive.read(entry) for entry in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for entry, data in content.items():
            assert not entry.endswith("data.pkl") or ours in data
            archive.writestr(entry, data.replace(ours, numpy_module) if entry.endswith("data.pkl") else data)
    assert load_model(model, [0]).trainer == "MAGMSTrainer"


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_that_need_no_trainer_are_those_of_the_trainers(name):
    manager = PlansManager(plans())
    configuration = manager.get_configuration("tiny")
    trainer_class = recursive_find_trainer_class_by_name(name)
    expected = trainer_class.build_network_architecture(manager, configuration, 3, 4, enable_deep_supervision=False)
    network = NETWORKS[name](configuration, 3, 4, deep_supervision=False)
    assert str(network) == str(expected)
    assert not network.decoder.deep_supervision
    assert {k: v.shape for k, v in network.state_dict().items()} == {
        k: v.shape for k, v in expected.state_dict().items()
    }


@pytest.mark.process
def test_a_model_of_ours_is_loaded_without_the_code_that_trains(model):
    code = (
        "import sys\nfrom pathlib import Path\nfrom magms_nnunet.model.model import load_model\n"
        "load_model(Path(sys.argv[1]), [0])\n"
        "assert not {'nnunetv2.training.nnUNetTrainer.nnUNetTrainer', 'torch._dynamo'} & set(sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code, str(model)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_every_fold_keeps_its_own_weights(model):
    path = model / "fold_1/checkpoint_final.pth"
    shutil.copytree(model / "fold_0", path.parent)
    content = torch.load(path, weights_only=False)
    content["network_weights"] = {name: weight + 1 for name, weight in content["network_weights"].items()}
    torch.save(content, path)
    loaded = load_model(model, [0, 1])
    first, second = ({name: weight.clone() for name, weight in weights.items()} for weights in loaded.weights)
    for weights in (*loaded.weights, loaded.weights[0]):  # as nnU-Net does for each case
        loaded.network.load_state_dict(weights)
    for name, weight in loaded.network.state_dict().items():
        assert torch.equal(weight, loaded.weights[0][name])
        assert torch.equal(weight, first[name])
        assert torch.equal(weight + 1, second[name])
        assert torch.equal(second[name], loaded.weights[1][name])


def test_a_training_that_goes_on_writing_the_checkpoint_does_not_change_a_loaded_model(model):
    path = model / "fold_0/checkpoint_final.pth"
    loaded = load_model(model, [0])
    before = {name: weight.clone() for name, weight in loaded.network.state_dict().items()}
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    assert all(torch.equal(weight, before[name]) for name, weight in loaded.network.state_dict().items())
