"""Real patients, in minutes on a CPU: that it runs from the published files, not how well it segments."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.integration.workspace import ENDING, Workspace, read_voxels

DATA = Path(__file__).parents[3] / "shared" / "data"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason="no real images in ../shared/data beside the repository"),
]


def link(source: Path, workspace: Workspace, train: list[str], predict: list[str]) -> None:
    """A raw dataset and images to predict, of links to ``source``; dataset.json as it is."""
    for folder in (workspace.raw / "imagesTr", workspace.raw / "labelsTr", workspace.test):
        folder.mkdir(parents=True)
    shutil.copy(source / "dataset.json", workspace.raw)
    for cases, images in ((train, workspace.raw / "imagesTr"), (predict, workspace.test)):
        for case in cases:
            for path in (source / "imagesTr").glob(f"{case}_*{ENDING}"):
                (images / path.name).symlink_to(path)
    for case in train:
        (workspace.raw / "labelsTr" / f"{case}{ENDING}").symlink_to(source / "labelsTr" / f"{case}{ENDING}")


def test_multiple_sclerosis(tmp_path):
    """Dataset220_OpenMS: trained on two patients, a third one predicted from T1c and FLAIR."""
    source = DATA / "Dataset220_OpenMS"
    workspace = Workspace(tmp_path, name=source.name)
    link(source, workspace, ["openms_patient07", "openms_patient19"], ["openms_patient26"])
    workspace.plan("3d_fullres", spacing_mm=(4, 4, 4))
    workspace.train("3d_fullres", "all")
    model = (*workspace.of_magms, "-c", "3d_fullres", "-f", "all")
    flags = ("--modalities", "T1c", "F")
    assert workspace.magms_predict("-i", workspace.test, "-o", tmp_path / "out", *model, *flags) == 0
    segmentation = read_voxels(tmp_path / "out" / f"openms_patient26{ENDING}")
    assert segmentation.shape == read_voxels(workspace.test / f"openms_patient26_0000{ENDING}").shape
    assert set(np.unique(segmentation)) <= {0, 1}


def test_spinal_cord(tmp_path):
    """Dataset230_SpinalMT: one patient, three modalities, five thick slices."""
    source = DATA / "Dataset230_SpinalMT"
    workspace = Workspace(tmp_path, name=source.name)
    case = next((source / "labelsTr").iterdir()).name.removesuffix(ENDING)
    link(source, workspace, [case], [case])
    workspace.plan("2d", "3d_fullres")
    for configuration in ("2d", "3d_fullres"):
        workspace.train(configuration, "all")
        model = (*workspace.of_magms, "-c", configuration, "-f", "all")
        flags = ("--modalities", "T1w")
        assert workspace.magms_predict("-i", workspace.test, "-o", tmp_path / configuration, *model, *flags) == 0
        assert read_voxels(tmp_path / configuration / f"{case}{ENDING}").shape == (5, 40, 40)
