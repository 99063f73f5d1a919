"""Copies of the tiny model to spoil, and the commands that take a model from somebody else."""

import json
import os
import shutil
import sys
import zipfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import torch

from tests.faults.tiny import SHAPE, give
from tests.integration.workspace import ENDING, QUIET, write_image

CHECKPOINT = "fold_0/checkpoint_final.pth"


class Canary:
    """Pickled, it makes a file when it is loaded by whoever unpickles anything."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch '{self.path}'",))


@pytest.fixture
def home(model, tmp_path, monkeypatch) -> Path:
    """nnU-Net's folders, all of them this one, with a copy of the tiny model to spoil."""
    folder = tmp_path / "home"
    shutil.copytree(model.parents[1], folder)
    for kind in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{kind}", str(folder))
    for source, target in (("plans.json", "MAGMSPlans.json"), ("dataset.json", "dataset.json")):
        shutil.copy(model / source, folder / model.parent.name / target)  # where nnUNetv2_train looks for them
    return folder


@pytest.fixture
def spoilt(home, model) -> Path:
    """The copied model's folder."""
    return home / model.parent.name / model.name


@pytest.fixture
def canary(spoilt, tmp_path) -> Path:
    """What appears when the copied model's checkpoint, otherwise a good one, is unpickled."""
    path = tmp_path / "canary"
    content = torch.load(spoilt / CHECKPOINT, weights_only=False)
    torch.save({**content, "extra": Canary(path)}, spoilt / CHECKPOINT)
    return path


@pytest.fixture
def run(spoilt, tmp_path, capfd) -> Callable[..., tuple[int, str]]:
    """run(command, *flags): exit code and last line on stderr of one of our commands with the copied model."""
    give(tmp_path / "some", {"case": range(3)})
    give(tmp_path / "all", {"case": range(4)})
    write_image(tmp_path / "labels" / f"case{ENDING}", torch.ones(SHAPE, dtype=torch.uint8).numpy())
    folds = ("-f", "0")
    by_name = ("-d", spoilt.parent.name, "-c", "tiny", *folds)
    output = tmp_path / "out"
    flags = {
        "predict": ("-i", tmp_path / "some", "-o", output, "-m", spoilt, *folds, "--disable_tta", *QUIET),
        "evaluate": (
            *("-i", tmp_path / "all", "-l", tmp_path / "labels", "-o", output, "-m", spoilt, *folds),
            *("--disable_tta", *QUIET),
        ),
        "export": ("-o", output, *by_name),
        "import_model": ("-i", tmp_path / "model.zip"),
    }

    def run(command: str, *more: str | Path) -> tuple[int, str]:
        capfd.readouterr()
        try:
            code = import_module(f"magms_nnunet.cli.{command}").main([*map(str, (*flags[command], *more))])
        except SystemExit as exit:  # by argparse
            code = exit.code
        lines = capfd.readouterr().err.splitlines()
        assert not any("Traceback" in line for line in lines)
        return code, lines[-1] if lines else ""

    return run


@pytest.fixture
def train(home, spoilt, monkeypatch) -> Callable[..., None]:
    """train(*flags): nnUNetv2_train in this process, on a dataset without a single case."""
    from nnunetv2.run.run_training import run_training_entry

    def train(*flags: str | Path) -> None:
        command = ("nnUNetv2_train", spoilt.parent.name, "tiny", 0, "-tr", "MAGMSTrainer", "-p", "MAGMSPlans")
        monkeypatch.setattr(sys, "argv", [*map(str, (*command, "-device", "cpu", *flags))])
        run_training_entry()

    return train


def pack(model: Path, target: Path) -> Path:
    """Zip a model as nnU-Net does, manifest or not."""
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(model.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(model.parents[1]))
    return target


def edit(path: Path, change: Callable[[dict], None]) -> None:
    """Change a JSON file."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def edit_also_in_checkpoint(model: Path, file: str, change: Callable[[dict], None]) -> None:
    """Change plans.json or dataset.json without a contradiction: a model that was trained so, or a hostile one."""
    edit(model / file, change)
    content = torch.load(model / CHECKPOINT, weights_only=False)
    content["init_args"][{"plans.json": "plans", "dataset.json": "dataset_json"}[file]] = json.loads(
        (model / file).read_text()
    )
    torch.save(content, model / CHECKPOINT)


def tree(folder: Path) -> dict[str, int]:
    """Everything below a folder, with its time of change."""
    return {str(path.relative_to(folder)): path.lstat().st_mtime_ns for path in folder.rglob("*")}


def in_checkpoint(**changes):
    """A change of a model's folder: these values of the checkpoint become others."""

    def change(folder):
        content = torch.load(folder / CHECKPOINT, weights_only=False)
        init_args = content["init_args"] | changes.get("init_args", {})
        torch.save(content | changes | {"init_args": init_args}, folder / CHECKPOINT)

    return change
