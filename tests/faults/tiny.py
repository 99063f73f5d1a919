"""A model of random weights, made within seconds, and folders of images for it to refuse."""

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch

from magms_nnunet.cli.predict import main
from magms_nnunet.environment.tiny_model import CONFIGURATION, make_tiny_model
from tests.integration.workspace import ENDING, QUIET, write_image

NAMES = ("FLAIR", "T1", "T1c", "T2")
FLAIR, T1, T1C, T2 = range(4)
SHAPE = (18, 17, 16)  # z, y, x
SIDE_FILES = {"dataset.json", "plans.json", "magms_predict.log"}


def voxels(seed: int) -> np.ndarray:
    """A ball of noise in nothing, ``(z, y, x)``."""
    image = np.random.default_rng(seed).normal(100, 20, SHAPE).astype(np.float32)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    image[z**2 + y**2 + x**2 > 0.9] = 0
    return image


def give(folder: Path, cases: dict[str, Iterable[int]]) -> Path:
    """Write images that nothing is wrong with: case -> channels."""
    for number, (case, channels) in enumerate(cases.items()):
        for channel in channels:
            write_image(folder / f"{case}_{channel:04d}{ENDING}", voxels(10 * number + channel))
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """Its folder; it knows FLAIR, T1, T1c and T2."""
    home = tmp_path_factory.mktemp("tiny")
    with pytest.MonkeyPatch.context() as patch:
        for kind in ("raw", "preprocessed", "results"):
            patch.setenv(f"nnUNet_{kind}", str(home))
        folder, _ = make_tiny_model(home, NAMES, classes=3)
    return folder


def make_second_stage(model: Path, home: Path) -> Path:
    """Copy the model to ``home`` as a cascade's second stage: its encoders also read the first stage's two labels."""
    plans = json.loads((model / "plans.json").read_text())
    plans["configurations"][CONFIGURATION]["next_stage"] = "second"
    plans["configurations"]["second"] = {"inherits_from": CONFIGURATION, "previous_stage": CONFIGURATION}
    folder = home / f"{model.name.removesuffix(CONFIGURATION)}second"
    shutil.copytree(model, folder)
    (folder / "plans.json").write_text(json.dumps(plans))
    path = folder / "fold_0/checkpoint_final.pth"
    content = torch.load(path, weights_only=False)
    content["init_args"] |= {"plans": plans, "configuration": "second"}
    weights = content["network_weights"]
    for name, weight in weights.items():
        if name.startswith("encoders.") and weight.ndim == 5 and weight.shape[1] == 1:
            weights[name] = torch.cat((weight, *2 * [torch.randn_like(weight)]), 1)
    torch.save(content, path)
    return folder


@pytest.fixture
def magms_predict(model, capfd) -> Callable[..., tuple[int, list[str]]]:
    """magms_predict(images, output, *flags): exit code of the command in this process, and its lines on stderr."""

    def magms_predict(images: Path, output: Path, *flags: str | int | Path) -> tuple[int, list[str]]:
        capfd.readouterr()
        arguments = ("-i", images, "-o", output, "-m", model, "-f", 0, "--disable_tta", *QUIET, *flags)
        try:
            code = main([*map(str, arguments)])
        except SystemExit as exit:  # by argparse
            code = exit.code
        lines = capfd.readouterr().err.splitlines()
        assert not any("Traceback" in line for line in lines)
        return code, lines

    return magms_predict
