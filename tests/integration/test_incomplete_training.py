"""Patients that lack scans, from the raw folder to a scored model, with the commands that a user types."""

import json

import pytest
import torch

from tests.integration.workspace import ENDING, Dataset, Workspace, files_in

FLAIR, T1, _, T2 = range(4)
GAPS = {"case0": (T1,), "case1": (FLAIR, T2)}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """Planned and preprocessed; the only fold validates on case3, which is complete."""
    workspace = Workspace(tmp_path_factory.mktemp("gaps"), Dataset(cases=4))
    for case, channels in GAPS.items():
        for channel in channels:
            (workspace.raw / f"imagesTr/{case}_{channel:04d}{ENDING}").unlink()
    workspace.plan("3d_fullres")
    return workspace


@pytest.mark.parametrize("trainer", ["AnySubsetTrainer", "ModalityDropoutTrainer", "HeMISTrainer", "MAGMSTrainer"])
def test_train_and_validate_on_all_cases(trainer, workspace):
    """Fold all validates on the cases that lack modalities, too."""
    workspace.train("3d_fullres", "all", trainer=trainer)
    fold = workspace.model(trainer=trainer) / "fold_all"
    assert (fold / "checkpoint_final.pth").is_file()
    assert {f"case{number}{ENDING}" for number in range(4)} <= files_in(fold / "validation")


def test_training_continues_and_validates_again(workspace):
    workspace.train("3d_fullres", "all", trainer="MAGTrainer")
    workspace.train("3d_fullres", "all", "--c", trainer="MAGTrainer", epochs=2)
    fold = workspace.model(trainer="MAGTrainer") / "fold_all"
    for path in (fold / "validation").iterdir():
        path.unlink()
    workspace.train("3d_fullres", "all", "--val", trainer="MAGTrainer", epochs=2)
    assert {f"case{number}{ENDING}" for number in range(4)} <= files_in(fold / "validation")
    assert torch.load(fold / "checkpoint_final.pth", weights_only=False)["current_epoch"] == 2


def test_incomplete_cases_are_evaluated_compared_and_the_model_exported(workspace, tmp_path):
    workspace.train("3d_fullres", "all", trainer="AnySubsetTrainer")
    model = ("-d", workspace.id, "-c", "3d_fullres", "-tr", "AnySubsetTrainer", "-p", "MAGMSPlans", "-f", "all")
    cases = ("-i", workspace.raw / "imagesTr", "-l", workspace.raw / "labelsTr", "--disable_tta")
    assert workspace.magms_evaluate(*model, *cases, "-o", tmp_path / "scores") == 0
    subsets = json.loads((tmp_path / "scores/summary.json").read_text())["subsets"]
    assert [subsets[name]["cases"] for name in ("T1c", "T1", "FLAIR", "FLAIR+T1")] == [4, 3, 3, 2]
    assert workspace.magms_compare(tmp_path / "scores", "-o", tmp_path / "comparison") == 0
    assert workspace._exit_code("export", *model, "-o", tmp_path / "model.zip") == 0


@pytest.mark.slow
@pytest.mark.parametrize("trainer", ["AnySubsetTrainer", "MAGMSTrainer"])
def test_cascade_and_slices(trainer, workspace, tmp_path):
    """A cascade's first stage predicts the cases that lack modalities for the second one."""
    workspace.plan("2d", "3d_fullres")
    workspace.plan_cascade()
    workspace.train("2d", "all", trainer=trainer)
    workspace.train("3d_lowres", "all", trainer=trainer)
    workspace.train("3d_cascade_fullres", "all", trainer=trainer)
    for configuration in ("2d", "3d_lowres", "3d_cascade_fullres"):
        validation = workspace.model(configuration, trainer) / "fold_all/validation"
        assert {f"case{number}{ENDING}" for number in range(4)} <= files_in(validation)
    model = ("-d", workspace.id, "-tr", trainer, "-p", "MAGMSPlans", "-f", "all", "--disable_tta", "-c")
    cases = ("-i", workspace.raw / "imagesTr", "-l", workspace.raw / "labelsTr", "--protocol", "absent")
    for configuration, flags in (
        ("3d_lowres", ("--save_segmentations",)),
        ("3d_cascade_fullres", ("-prev_stage_predictions", tmp_path / "3d_lowres/segmentations")),
    ):
        chosen = (*cases, "--subsets", "T1", "F+T2")
        assert workspace.magms_evaluate(*model, configuration, *chosen, *flags, "-o", tmp_path / configuration) == 0
        subsets = json.loads((tmp_path / configuration / "summary.json").read_text())["subsets"]
        assert [of["cases"] for of in subsets.values()] == [3, 3]


def test_evaluate(workspace, tmp_path):
    workspace.train("3d_fullres", 0, trainer="AnySubsetTrainer")
    model = ("-d", workspace.id, "-c", "3d_fullres", "-tr", "AnySubsetTrainer", "-p", "MAGMSPlans")
    assert workspace.magms_evaluate(*model, "-o", tmp_path / "scores") == 0
    assert "case3" in (tmp_path / "scores/scores.csv").read_text()


def test_the_raw_folder_is_as_it_was(workspace):
    missing = {f"{case}_{channel:04d}{ENDING}" for case, channels in GAPS.items() for channel in channels}
    all_files = {f"case{case}_{channel:04d}{ENDING}" for case in range(4) for channel in range(4)}
    assert files_in(workspace.raw / "imagesTr") == all_files - missing
