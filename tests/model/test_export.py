"""What is exported is complete, says what it is, and names nobody."""

import hashlib
import json
import shutil
import zipfile

import pytest
import torch
from safetensors.torch import load_model as load_safetensors

from magms_nnunet.errors import InputError
from magms_nnunet.model.expected import attached_dice
from magms_nnunet.model.export import export_models
from magms_nnunet.model.install import install_models
from magms_nnunet.model.model import load_model
from tests.faults.shared_models import CHECKPOINT, edit_also_in_checkpoint, home, spoilt  # noqa: F401 (fixtures)
from tests.faults.tiny import model  # noqa: F401 (a fixture)

MODEL = "Dataset999_Tiny/MAGMSTrainer__MAGMSPlans__tiny"
FILES = {"plans.json", "dataset.json", CHECKPOINT, "fold_0/checkpoint_final.safetensors"}


@pytest.fixture
def packed(spoilt, tmp_path):  # noqa: F811
    """A zip of the model."""
    export_models([spoilt], tmp_path / "model.zip", folds=[0])
    return tmp_path / "model.zip"


def manifest(packed, model=MODEL) -> dict:  # noqa: F811
    with zipfile.ZipFile(packed) as archive:
        return json.loads(archive.read(f"{model}/magms_manifest.json"))


def test_layout_is_nnunets_and_the_manifest_holds_every_file(packed, spoilt):  # noqa: F811
    with zipfile.ZipFile(packed) as archive:
        assert set(archive.namelist()) == {f"{MODEL}/{file}" for file in FILES | {"magms_manifest.json"}}
        for file, digest in manifest(packed)["files"].items():
            assert hashlib.sha256(archive.read(f"{MODEL}/{file}")).hexdigest() == digest
        assert archive.read(f"{MODEL}/{CHECKPOINT}") == (spoilt / CHECKPOINT).read_bytes()
    assert set(manifest(packed)["files"]) == FILES


def test_manifest_says_what_the_model_is(packed):
    said = manifest(packed)
    assert said["model"] == "MAGMSTrainer__MAGMSPlans__tiny"
    assert said["dataset"] == "Dataset999_Tiny"
    assert said["channel_names"] == {"0": "FLAIR", "1": "T1", "2": "T1c", "3": "T2"}
    assert said["folds"] == ["0"]
    assert said["expected_dice"] is None
    assert set(said["versions"]) == {"magms_nnunet", "nnunetv2", "torch"}


@pytest.mark.parametrize("of_this_model", [True, False])
def test_expected_dice_is_that_of_the_exported_weights(of_this_model, spoilt, tmp_path):  # noqa: F811
    known = {"subsets": {"T1c": {"mean": 0.5, "regions": {}}, "FLAIR+T1c": {"mean": 0.75, "regions": {}}}}
    known["sha256"] = load_model(spoilt, [0]).fingerprint if of_this_model else "of another"
    (spoilt / "magms_expected_dice.json").write_text(json.dumps(known))
    export_models([spoilt], tmp_path / "model.zip", folds=[0])
    expected = {"T1c": 0.5, "FLAIR+T1c": 0.75} if of_this_model else None
    assert manifest(tmp_path / "model.zip")["expected_dice"] == expected


def test_nothing_names_a_patient_or_a_folder(spoilt, home, tmp_path):  # noqa: F811
    (spoilt / "fold_0" / "validation").mkdir()
    for file in ("fold_0/debug.json", "fold_0/validation/summary.json", "fold_0/training_log_2026.txt"):
        (spoilt / file).write_text("/home/somebody/patient_17.nii.gz")
    listed = {"dataset": {"patient_17": {"images": [f"{tmp_path}/patient_17_0000.nii.gz"], "label": "patient_17"}}}
    edit_also_in_checkpoint(spoilt, "dataset.json", lambda content: content.update(listed))
    before = load_model(spoilt, [0])
    known = {"sha256": before.fingerprint, "fill": None, "dataset": str(tmp_path / "imagesTs"), "cases": 1}
    known |= {"protocol": "absent", "subsets": {"T1c": {"mean": 0.5, "regions": {}}}}
    (spoilt / "magms_expected_dice.json").write_text(json.dumps(known))
    export_models([spoilt], tmp_path / "model.zip", folds=[0])
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    assert b"patient_17" not in content
    assert str(tmp_path).encode() not in content
    assert manifest(tmp_path / "model.zip")["expected_dice"] == {"T1c": 0.5}
    shutil.rmtree(spoilt)
    install_models(tmp_path / "model.zip", home)
    after = load_model(spoilt, [0])
    assert all(torch.equal(weight, after.weights[0][name]) for name, weight in before.weights[0].items())
    expected = {"mean": 0.5, "regions": {}, "cases": 1, "protocol": "absent", "dataset": "imagesTs"}
    assert attached_dice(after, (2,), None) == expected


def test_safetensors_hold_the_weights_of_each_fold(spoilt, tmp_path):  # noqa: F811
    shutil.copytree(spoilt / "fold_0", spoilt / "fold_1")
    content = torch.load(spoilt / CHECKPOINT, weights_only=False)
    for weight in content["network_weights"].values():
        weight.mul_(2)
    torch.save(content, spoilt / "fold_1/checkpoint_final.pth")
    export_models([spoilt], tmp_path / "model.zip", folds=[0, 1])
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    loaded = load_model(spoilt, [0, 1])
    for fold, weights in zip((0, 1), loaded.weights, strict=True):
        for weight in loaded.network.state_dict().values():
            weight.zero_()
        load_safetensors(loaded.network, tmp_path / "unpacked" / MODEL / f"fold_{fold}/checkpoint_final.safetensors")
        here = loaded.network.state_dict()
        assert all(torch.equal(here[name], weight) for name, weight in weights.items())


def test_nnunets_own_import_installs_it(packed, home):  # noqa: F811
    from nnunetv2.model_sharing.model_import import install_model_from_zip_file

    original = load_model(home / MODEL, [0])
    shutil.rmtree(home / MODEL)
    install_model_from_zip_file(str(packed))
    installed = load_model(home / MODEL, [0])
    assert installed.fingerprint == original.fingerprint


def test_nnunets_own_export_is_installed_and_what_no_model_needs_is_left_out(spoilt, home, tmp_path):  # noqa: F811
    from nnunetv2.model_sharing.model_export import export_pretrained_model

    (spoilt / "fold_0/validation").mkdir()
    for file in ("dataset_fingerprint.json", "fold_0/progress.png", "fold_0/validation/summary.json"):
        (spoilt / file).write_text("{}")
    export_pretrained_model(
        spoilt.parent.name, str(tmp_path / "model.zip"), ("tiny",), "MAGMSTrainer", "MAGMSPlans", (0,)
    )
    shutil.rmtree(spoilt)
    (installed,), left_out = install_models(tmp_path / "model.zip", home)
    assert (installed.folder, installed.folds, installed.has_manifest) == (spoilt, ("0",), False)
    assert left_out == [f"{MODEL}/fold_0/validation/summary.json"]
    assert (spoilt / "fold_0/progress.png").is_file()


def test_a_zip_that_is_there_is_replaced_only_when_asked(packed, spoilt):  # noqa: F811
    before = packed.read_bytes()
    with pytest.raises(InputError, match=r"model\.zip exists: choose another -o"):
        export_models([spoilt], packed, folds=[0])
    assert packed.read_bytes() == before
    digest = export_models([spoilt], packed, folds=[0], overwrite=True)
    assert digest == hashlib.sha256(packed.read_bytes()).hexdigest()


def test_nothing_is_left_of_an_export_that_fails(spoilt, tmp_path):  # noqa: F811
    with pytest.raises(InputError, match=r"has no checkpoint_final\.pth for fold 1"):
        export_models([spoilt, spoilt], tmp_path / "model.zip", folds=[0, 1])
    with pytest.raises(InputError, match=r"cannot write"):
        export_models([spoilt], tmp_path / "nowhere" / "model.zip", folds=[0])
    assert {path.name for path in tmp_path.iterdir()} == {"home"}
