"""The chain from raw images to a trained model, gone through once for all tests that need a trained model."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from tests.integration.workspace import ENDING, Dataset, Workspace, narrow, short_run

EPOCHS = 4
SEED = "for seed in (random.seed, numpy.random.seed, torch.manual_seed):\n    seed(0)\n"


@dataclass(frozen=True)
class Chain:
    """A workspace with a trained fold 0 and what the three trainings said."""

    workspace: Workspace
    killed: str
    continued: str
    validated: str


@pytest.fixture(scope="session")
def chain(tmp_path_factory) -> Chain:
    """Plan, preprocess, train, be killed at the start of epoch 2, continue without our variables, validate again.

    What starts processes of its own or is killed is a command as a user types it; the rest runs in this process.
    """
    workspace = Workspace(tmp_path_factory.mktemp("chain"), Dataset(cases=5, test_cases=3))
    workspace.fingerprint()
    plan = ("nnUNetv2_plan_and_preprocess", "-d", workspace.id, "-pl", "MAGMSPlanner", "-c", "3d_fullres")
    workspace.run(*plan, "-np", 1, "-npfp", 1)
    narrow(workspace.preprocessed / "MAGMSPlans.json")

    train = ("nnUNetv2_train", workspace.id, "3d_fullres", 0, "-tr", "MAGMSTrainer", "-p", "MAGMSPlans")
    lines = []
    seeded = workspace.folder / "seeded"
    seeded.mkdir()
    (seeded / "sitecustomize.py").write_text("import random, numpy, torch\n" + SEED)
    with workspace.start(*train, "-device", "cpu", PYTHONPATH=str(seeded), **short_run(EPOCHS, 1)) as process:
        for line in process.stdout:
            lines.append(line)
            if line.rstrip().endswith(": Epoch 2"):
                process.kill()
    assert process.returncode < 0, "".join(lines)
    continued = workspace.train("3d_fullres", 0, "--c", epochs=None)
    validated = workspace.train("3d_fullres", 0, "--val", "--npz", epochs=None)
    return Chain(workspace, "".join(lines), continued, validated)


@pytest.fixture(scope="session")
def workspace(chain) -> Workspace:
    """Fold 0 of MAGMSTrainer is trained; case5, case6 and case7 in ``test`` have FLAIR, T1, T1c and T2."""
    return chain.workspace


@pytest.fixture(scope="session")
def stock_model(workspace) -> Path:
    """nnU-Net's own trainer on our plans."""
    workspace.train(trainer="nnUNetTrainer")
    return workspace.model(trainer="nnUNetTrainer")


@pytest.fixture(scope="session")
def any_subset_logs(workspace) -> list[str]:
    """AnySubsetTrainer on our plans: an epoch, another one by ``--c``, and the validation by ``--val``."""
    runs = (((), 1), (("--c",), 2), (("--val", "--npz"), 2))
    return [workspace.train("3d_fullres", 0, *flags, trainer="AnySubsetTrainer", epochs=n) for flags, n in runs]


@pytest.fixture(scope="session")
def any_subset_model(workspace, any_subset_logs) -> Path:
    """The folder of what :func:`any_subset_logs` has trained."""
    return workspace.model(trainer="AnySubsetTrainer")


@pytest.fixture
def predict(workspace) -> Callable[..., int]:
    """predict(images, output, *flags): exit code of magms_predict with fold 0 of the chain's model."""
    model = (*workspace.of_magms, "-c", "3d_fullres", "-f", 0)
    return lambda images, output, *flags: workspace.magms_predict("-i", images, "-o", output, *model, *flags)


@pytest.fixture(scope="session")
def aligned(workspace, tmp_path_factory) -> tuple[Path, Path]:
    """Images and labels of three cases whose modalities all have one support: nothing is cropped differently."""
    folder = tmp_path_factory.mktemp("aligned")
    for case in ("case0", "case1"):
        images = [sitk.ReadImage(workspace.raw / "imagesTr" / f"{case}_{m:04d}{ENDING}") for m in range(4)]
        support = np.all([sitk.GetArrayFromImage(image) != 0 for image in images], axis=0)
        (folder / "images").mkdir(exist_ok=True)
        for m, image in enumerate(images):
            masked = sitk.GetImageFromArray(sitk.GetArrayFromImage(image) * support)
            masked.CopyInformation(image)
            sitk.WriteImage(masked, folder / "images" / f"{case}_{m:04d}{ENDING}")
    shutil.copytree(workspace.raw / "labelsTr", folder / "labels")
    for case in ("case2", "case3", "case4"):
        (folder / "labels" / f"{case}{ENDING}").unlink()
    return folder / "images", folder / "labels"


@pytest.fixture(scope="session")
def evaluate(workspace) -> Callable[..., int]:
    """evaluate(output, *flags): exit code of magms_evaluate of fold 0 of the chain's model."""
    model = (*workspace.of_magms, "-c", "3d_fullres", "--disable_tta")
    return lambda output, *flags: workspace.magms_evaluate("-o", output, *model, *flags)
