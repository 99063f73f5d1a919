"""What is installed is found by nnU-Net's names, and several models come together or not at all."""

import os
import shutil
import zipfile

import pytest
import torch

from magms_nnunet.cli import import_model
from magms_nnunet.model import install
from magms_nnunet.model.export import export_models
from magms_nnunet.model.model import load_model
from tests.faults.shared_models import CHECKPOINT, home, spoilt, tree  # noqa: F401 (fixtures)
from tests.faults.tiny import model  # noqa: F401 (a fixture)


@pytest.fixture
def two(spoilt, tmp_path):  # noqa: F811
    """A zip of two models, two folds and two checkpoints each; they are removed where they were made."""
    other = spoilt.parent / "MAGTrainer__MAGMSPlans__tiny"
    shutil.copy(spoilt / CHECKPOINT, spoilt / "fold_0/checkpoint_best.pth")
    shutil.copytree(spoilt / "fold_0", spoilt / "fold_all")
    shutil.copytree(spoilt, other)
    for path in other.glob("fold_*/*.pth"):
        torch.save({**torch.load(path, weights_only=False), "trainer_name": "MAGTrainer"}, path)
    files = ("checkpoint_final.pth", "checkpoint_best.pth")
    export_models([spoilt, other], tmp_path / "two.zip", folds=[0, "all"], checkpoints=files)
    for folder in (spoilt, other):
        shutil.rmtree(folder)
    return tmp_path / "two.zip", spoilt, other


def test_several_models_folds_and_checkpoints(two, home):  # noqa: F811
    packed, *folders = two
    installed, left_out = install.install_models(packed, home)
    assert [each.folder for each in installed] == folders
    assert [each.folds for each in installed] == [("0", "all")] * 2
    assert all(each.has_manifest and each.modalities == ("FLAIR", "T1", "T1c", "T2") for each in installed)
    assert left_out == []
    assert load_model(folders[1], ["all"], "checkpoint_best.pth").trainer == "MAGTrainer"


def test_nothing_is_installed_where_the_second_has_no_place(two, home, tmp_path):  # noqa: F811
    """What the first one replaced comes back."""
    packed, first, _ = two
    with zipfile.ZipFile(packed) as archive, zipfile.ZipFile(tmp_path / "moved.zip", "w") as moved:
        for name in archive.namelist():
            moved.writestr(
                name.replace("Dataset999_Tiny/MAGTrainer", "Dataset998_Other/MAGTrainer"), archive.read(name)
            )
    (home / "Dataset998_Other").touch()  # a file, so no folder for a model
    first.mkdir()
    (first / "notes.txt").touch()
    before = set(tree(home))
    with pytest.raises(install.InputError, match=r"cannot install .*moved\.zip"):
        install.install_models(tmp_path / "moved.zip", home, overwrite=True)
    assert set(tree(home)) == before


def test_what_was_there_survives_a_stop_between_the_renames(two, home, monkeypatch):  # noqa: F811
    packed, first, _ = two
    first.mkdir()
    (first / "notes.txt").touch()
    before, rename = set(tree(home)), os.rename

    def stopped(source, target):
        rename(source, target)
        if source == first:
            raise KeyboardInterrupt

    monkeypatch.setattr("os.rename", stopped)
    with pytest.raises(KeyboardInterrupt):
        install.install_models(packed, home, overwrite=True)
    assert set(tree(home)) == before


def test_a_model_that_comes_while_the_zip_is_checked_is_not_replaced(two, home, monkeypatch):  # noqa: F811
    packed, _, second = two
    load = install.load_model

    def load_slowly(*arguments, **options):
        second.mkdir(exist_ok=True)
        (second / "notes.txt").touch()
        return load(*arguments, **options)

    monkeypatch.setattr(install, "load_model", load_slowly)
    before = set(tree(home))
    with pytest.raises(install.InputError, match=f"{second} has appeared meanwhile"):
        install.install_models(packed, home)
    assert set(tree(home)) == before | {str(path.relative_to(home)) for path in (second, second / "notes.txt")}


def test_says_which_other_dataset_has_the_same_id(two, home, capsys):  # noqa: F811
    (home / "Dataset999_Other").mkdir()
    assert import_model.main(["-i", str(two[0])]) == 0
    printed = capsys.readouterr().out
    assert "note: Dataset999_Other has the same id: give nnU-Net's commands the name, -d Dataset999_Tiny" in printed


def test_says_that_there_are_no_hashes_and_what_is_left_out(two, home, capsys):  # noqa: F811
    packed = two[0]
    with zipfile.ZipFile(packed) as archive:
        content = {name: archive.read(name) for name in archive.namelist() if "manifest" not in name}
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
        for number in range(7):
            archive.writestr(f"Dataset999_Tiny/ensembles/{number}/postprocessing.pkl", "")
    assert import_model.main(["-i", str(packed)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("note: it came without hashes") == 2
    assert "left out: Dataset999_Tiny/ensembles/0/postprocessing.pkl" in printed
    assert "and 2 more" in printed
    assert not (home / "Dataset999_Tiny/ensembles").exists()


def test_results_folder_is_made(two, tmp_path):
    installed, _ = install.install_models(two[0], tmp_path / "new" / "results")
    assert installed[0].folder.is_dir()


def test_variable_is_not_set(two, monkeypatch, capsys):
    monkeypatch.delenv("nnUNet_results")
    assert import_model.main(["-i", str(two[0])]) == 2
    assert "nnUNet_results is not set" in capsys.readouterr().err
