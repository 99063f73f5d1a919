"""SIGKILL at random moments of a training, which is then continued."""

import os
import random
import re
import time

import pytest
import torch

from tests.integration.workspace import Dataset, Workspace, short_run

KILLS = 25
EPOCHS, SAVE_EVERY = 80, 4
EPOCH = re.compile(r": Epoch (\d+)\s*$", re.MULTILINE)


@pytest.fixture
def planned(tmp_path):
    """A planned and preprocessed dataset of two modalities."""
    workspace = Workspace(tmp_path, Dataset(modalities=("FLAIR", "T1"), cases=2, test_cases=0))
    workspace.plan("3d_fullres")
    return workspace


def checkpoint(fold) -> dict | None:
    """What ``--c`` continues from."""
    for name in ("final", "latest", "best"):
        path = fold / f"checkpoint_{name}.pth"
        if path.exists():
            return torch.load(path, weights_only=False)
    return None


def train_and_kill(workspace, epochs: int, fraction: float = 0, augmenting_processes: int = 0) -> list[int]:
    """Continue the training, and kill it in the next epoch after so many; the epochs that it began."""
    command = (workspace.id, "3d_fullres", 0, "-tr", "MAGMSTrainer", "-p", "MAGMSPlans", "-device", "cpu", "--c")
    variables = short_run(EPOCHS, 1) | {"nnUNet_n_proc_DA": str(augmenting_processes)}
    printed, began = "", [time.monotonic()]
    with workspace.start("nnUNetv2_train", *command, **variables) as training:
        while len(EPOCH.findall(printed)) <= epochs:
            line = training.stdout.readline()
            assert line, printed
            printed += line
            began += [time.monotonic()] if EPOCH.search(line) else []
        time.sleep(fraction * (began[-1] - began[-2] if epochs else 1))
        training.kill()
        training.wait()
        os.set_blocking(training.stdout.fileno(), False)  # what it forked may hold the other end
        while line := training.stdout.readline():
            printed += line
    return [int(epoch) for epoch in EPOCH.findall(printed)]


@pytest.mark.slow
def test_row14_training_killed_at_random_moments_continues(planned):
    moments, fold, curve = random.Random(14), planned.model() / "fold_0", []
    for _ in range(KILLS):
        epochs = train_and_kill(planned, moments.randint(0, 3), moments.uniform(0, 1.2))
        assert epochs == list(range(len(curve), len(curve) + len(epochs)))
        if (kept := checkpoint(fold)) is None:
            assert epochs == [0]
            continue
        assert epochs[-1] - SAVE_EVERY <= kept["current_epoch"] <= epochs[-1] + 1
        losses = kept["logging"]["train_losses"]
        assert len(losses) == kept["current_epoch"]
        assert losses[: len(curve)] == curve
        curve = losses
    assert len(curve) > SAVE_EVERY


@pytest.mark.slow
def test_row14_processes_that_augment_outlive_a_killed_training_and_keep_no_other_out(planned):
    assert train_and_kill(planned, 0, augmenting_processes=2)
    assert train_and_kill(planned, 0, augmenting_processes=2)
