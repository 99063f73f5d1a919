"""A scratch home for nnU-Net: generated raw data, and the commands of nnU-Net and ours on it."""

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

MODALITIES = ("FLAIR", "T1", "T1c", "T2")
LABELS = {"background": 0, "edema": 1, "core": 2}
SHAPE = (24, 32, 28)  # z, y, x
SPACING_MM = (2.0, 1.0, 1.0)  # z, y, x
ENDING = ".nii.gz"
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Dataset:
    """What a generated dataset is like; the same ``seed`` gives the same voxels.

    Attributes:
        modalities: names of the channels; ``labels``: as in dataset.json, ``regions_class_order`` too.
        cases: how many to train on.
    """

    modalities: Sequence[str] = MODALITIES
    labels: dict | None = None
    regions_class_order: Sequence[int] | None = None
    cases: int = 5
    shape: Sequence[int] = SHAPE
    seed: int = 0

    @property
    def json(self) -> dict:
        """Content of dataset.json."""
        regions = {"regions_class_order": list(self.regions_class_order)} if self.regions_class_order else {}
        return {
            "channel_names": {str(channel): name for channel, name in enumerate(self.modalities)},
            "labels": self.labels or LABELS,
            "numTraining": self.cases,
            "file_ending": ENDING,
            **regions,
        }

    def case(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Images ``(M, z, y, x)``, each zero outside of a support of its own, and labels ``(z, y, x)``."""
        rng = np.random.default_rng((self.seed, number))
        grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in self.shape), indexing="ij"))

        def ball(centre, radius):
            return ((grid - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(0) < radius**2

        centre = rng.uniform(-0.2, 0.2, 3)
        labels = np.zeros(self.shape, np.uint8)
        labels[ball(centre, 0.5)] = 1
        labels[ball(centre, 0.3)] = 2
        images = rng.normal(100, 10, (len(self.modalities), *self.shape))
        for channel, image in enumerate(images):
            image += (30 + 20 * channel) * (labels == 1 + channel % 2)
            image[~ball(np.zeros(3), 0.9 - 0.05 * channel)] = 0
        if "ignore" in (self.labels or {}):
            labels[:, :, : self.shape[2] // 3] = self.labels["ignore"]
        return images.astype(np.float32), labels


class Workspace:
    """nnUNet_raw, nnUNet_preprocessed and nnUNet_results below one folder, with one dataset."""

    def __init__(self, folder: Path, name: str = "Dataset901_Balls"):
        self.folder = folder
        self.name = name
        self.id = name[7:10]
        self.variables = {f"nnUNet_{kind}": str(folder / kind) for kind in ("raw", "preprocessed", "results")}
        self.variables |= {"nnUNet_def_n_proc": "1", "nnUNet_n_proc_DA": "0", "PYTHONUNBUFFERED": "1"}
        self.raw = folder / "raw" / name
        self.preprocessed = folder / "preprocessed" / name
        self.results = folder / "results" / name

    def model(self, trainer="MAGMSTrainer", plans="MAGMSPlans", configuration="3d_fullres") -> Path:
        return self.results / f"{trainer}__{plans}__{configuration}"

    def write(self, dataset: Dataset, test_cases: int = 0) -> None:
        """Raw training cases, a split that trains on all but one, and ``test`` with images of further cases."""
        for number in range(dataset.cases + test_cases):
            images, labels = dataset.case(number)
            folder = self.raw / "imagesTr" if number < dataset.cases else self.folder / "test"
            for channel, image in enumerate(images):
                write_image(folder / f"case_{number:02d}_{channel:04d}{ENDING}", image)
            if number < dataset.cases:
                write_image(self.raw / "labelsTr" / f"case_{number:02d}{ENDING}", labels)
        (self.raw / "dataset.json").write_text(json.dumps(dataset.json))

    def run(self, command: str, *arguments, length: tuple[int, int] | None = None) -> str:
        """Run a console script, as a user does; its output. ``length``: epochs and iterations of each."""
        result = subprocess.run(
            [str(BIN / command), *map(str, arguments)],
            env=os.environ | self.variables | run_length(length),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert result.returncode == 0, result.stdout
        return result.stdout

    @contextmanager
    def active(self, **variables: str):
        """nnU-Net's variables point here, and its pools are threads: processes take seconds to import nnU-Net."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (self.variables | variables).items():
                patch.setenv(name, value)
            patch.setattr(multiprocessing.get_context("spawn"), "Pool", ThreadPool)
            yield

    def call(self, entry: Callable, *arguments, **variables: str):
        """Call an entry function of nnU-Net in this process."""
        with self.active(**variables), pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [entry.__name__, *map(str, arguments)])
            return entry()

    def plan(self, planner: str = "MAGMSPlanner", *configurations: str) -> None:
        """Plan, narrow, preprocess; in this process."""
        from nnunetv2.experiment_planning.plan_and_preprocess_entrypoints import plan_and_preprocess_entry

        flags = ("-d", self.id, "-pl", planner, "-c", *(configurations or ("3d_fullres",)), "-np", 1, "-npfp", 1)
        self.call(plan_and_preprocess_entry, *flags)
        for path in self.preprocessed.glob("*Plans.json"):
            narrow(path)

    def train(self, *arguments, length: tuple[int, int] | None = (1, 1)) -> None:
        """nnUNetv2_train ID CONFIGURATION FOLD ... in this process."""
        from nnunetv2.run.run_training import run_training_entry

        self.call(run_training_entry, self.id, *arguments, "-device", "cpu", **run_length(length))

    def magms_predict(self, *arguments) -> int:
        """The exit code of magms_predict, called in this process."""
        from magms_nnunet.cli.predict import main

        with self.active():
            return main([str(argument) for argument in (*arguments, *QUIET)])

    def nnunet_predict(self, *arguments) -> None:
        from nnunetv2.inference.predict_from_raw_data import predict_entry_point

        self.call(predict_entry_point, *arguments, *QUIET)


QUIET = ("-device", "cpu", "-npp", 0, "-nps", 0, "--disable_progress_bar")


def write_image(path: Path, array: np.ndarray, spacing_mm=SPACING_MM) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing_mm[::-1])
    sitk.WriteImage(image, str(path))


def narrow(plans_file: Path) -> None:
    """Few features and a small batch, so that training takes seconds."""
    plans = json.loads(plans_file.read_text())
    for configuration in plans["configurations"].values():
        if "architecture" in configuration:
            arguments = configuration["architecture"]["arch_kwargs"]
            arguments["features_per_stage"] = [4] * arguments["n_stages"]
            configuration["batch_size"] = 2
    plans_file.write_text(json.dumps(plans))


def run_length(length: tuple[int, int] | None) -> dict[str, str]:
    if length is None:
        return {}
    return {"MAGMS_NUM_EPOCHS": str(length[0]), "MAGMS_ITERATIONS_PER_EPOCH": str(length[1])}
