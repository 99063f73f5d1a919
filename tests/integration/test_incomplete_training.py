"""Patients that lack scans, from the raw folder to a scored model, with the commands that a user types."""

import pytest

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


def test_evaluate(workspace, tmp_path):
    workspace.train("3d_fullres", 0, trainer="AnySubsetTrainer")
    model = ("-d", workspace.id, "-c", "3d_fullres", "-tr", "AnySubsetTrainer", "-p", "MAGMSPlans")
    assert workspace.magms_evaluate(*model, "-o", tmp_path / "scores") == 0
    assert "case3" in (tmp_path / "scores/scores.csv").read_text()


def test_the_raw_folder_is_as_it_was(workspace):
    missing = {f"{case}_{channel:04d}{ENDING}" for case, channels in GAPS.items() for channel in channels}
    all_files = {f"case{case}_{channel:04d}{ENDING}" for case in range(4) for channel in range(4)}
    assert files_in(workspace.raw / "imagesTr") == all_files - missing
