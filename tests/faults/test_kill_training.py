"""SIGKILL at random moments of a training, which is then continued."""

import os
import random
import re
import signal
import time

import pytest
import torch

from tests.faults.commands import children, wait_for
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


@pytest.mark.fault(14)
@pytest.mark.slow
def test_training_killed_at_random_moments_continues(planned):
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


@pytest.mark.fault(14)
@pytest.mark.slow
def test_a_killed_training_keeps_no_other_out(planned):
    """Not while the processes that augment, which have its lock, are ending."""
    assert train_and_kill(planned, 0, augmenting_processes=2)
    assert train_and_kill(planned, 0, augmenting_processes=2)


@pytest.mark.fault(14, 18)
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=str)
def test_processes_that_augment_end_with_the_training(number, planned):
    """SIGTERM and SIGINT reach all processes, as a cluster and a terminal send them."""
    command = (planned.id, "3d_fullres", 0, "-tr", "MAGMSTrainer", "-p", "MAGMSPlans", "-device", "cpu")
    variables = short_run(EPOCHS, 1) | {"nnUNet_n_proc_DA": "2"}
    with planned.start("nnUNetv2_train", *command, **variables) as training:
        printed = ""
        while len(EPOCH.findall(printed)) < 2:
            printed += training.stdout.readline()
        forked = children(training.pid)
        assert len(forked) == 3  # one of them for validation
        for process in [training.pid, *forked] if number != signal.SIGKILL else [training.pid]:
            os.kill(process, number)
        rest, _ = training.communicate(timeout=60)
    wait_for(lambda: not any(os.path.exists(f"/proc/{process}") for process in forked), 20)
    if number == signal.SIGKILL:
        return
    assert training.returncode == 128 + number
    assert "Traceback" not in rest
    epoch = re.search(rf"stopped by {number.name} in epoch (\d+): the same command with --c continues", rest)
    kept = torch.load(planned.model() / "fold_0/checkpoint_latest.pth", weights_only=False)
    assert kept["current_epoch"] == int(epoch[1]) >= 1
    assert not list((planned.model() / "fold_0").glob(".magms*"))
