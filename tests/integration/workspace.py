"""A scratch home for nnU-Net: a generated dataset, and the commands of nnU-Net and ours on it.

Commands either run as a user runs them (:meth:`Workspace.run`) or are called in this process, which saves the seconds
that every new process takes to import nnU-Net.
"""

import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

BIN = Path(sys.executable).parent
ENDING = ".nii.gz"
SHAPE = (24, 32, 28)  # z, y, x
SPACING_MM = (1.5, 1.0, 1.0)  # z, y, x
QUIET = ("-device", "cpu", "-npp", "0", "-nps", "0", "--disable_progress_bar")


@dataclass(frozen=True)
class Dataset:
    """A generated dataset; the same fields give the same voxels.

    Attributes:
        modalities: names of the channels; ``labels`` and ``regions_class_order``: as in dataset.json.
        cases: to train on; ``test_cases``: further ones, in ``Workspace.test``.
        shape: ``(z, y, x)``.
    """

    modalities: Sequence[str] = ("FLAIR", "T1", "T1c", "T2")
    labels: dict = field(default_factory=lambda: {"background": 0, "edema": 1, "core": 2})
    regions_class_order: tuple[int, ...] = ()
    cases: int = 3
    test_cases: int = 1
    shape: tuple[int, int, int] = SHAPE
    seed: int = 0

    @property
    def json(self) -> dict:
        """Content of dataset.json."""
        regions = {"regions_class_order": self.regions_class_order} if self.regions_class_order else {}
        return {
            "channel_names": {str(channel): name for channel, name in enumerate(self.modalities)},
            "labels": self.labels,
            "numTraining": self.cases,
            "file_ending": ENDING,
            **regions,
        }

    def case(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Images ``(M, z, y, x)`` and labels ``(z, y, x)``: a ball of two tissues, cut elsewhere in every modality."""
        rng = np.random.default_rng((self.seed, number))
        z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in self.shape), indexing="ij")
        radius = np.sqrt(z**2 + y**2 + x**2)
        core = x > rng.uniform(-0.2, 0.2)
        labels = np.where(radius < 0.8, 1 + core, 0).astype(np.uint8)
        images = rng.normal(100, 10, (len(self.modalities), *self.shape)).astype(np.float32)
        for channel, image in enumerate(images):
            image += (60 + 20 * channel) * (labels == 1 + channel % 2)
            image[(radius > 0.95) | (y > 0.9 - 0.1 * channel)] = 0
        if "ignore" in self.labels:
            labels[-self.shape[0] // 3 :] = self.labels["ignore"]
        return images, labels


class Workspace:
    """nnUNet_raw, nnUNet_preprocessed and nnUNet_results with one dataset; ``test`` has images to predict."""

    def __init__(self, folder: Path, dataset: Dataset | None = None, name: str = "Dataset901_Balls"):
        self.folder, self.id = folder, name[len("Dataset") :][:3]
        self.of_magms = ("-d", self.id, "-tr", "MAGMSTrainer")
        """Flags of a model of MAGMSTrainer, where others may be trained as well."""
        self.raw, self.preprocessed, self.results = (
            folder / kind / name for kind in ("raw", "preprocessed", "results")
        )
        self.test = folder / "test"
        self.variables = {f"nnUNet_{kind}": str(folder / kind) for kind in ("raw", "preprocessed", "results")}
        if dataset is not None:
            self._write(dataset)

    def _write(self, dataset: Dataset) -> None:
        for number in range(dataset.cases + dataset.test_cases):
            images, labels = dataset.case(number)
            train = number < dataset.cases
            for channel, image in enumerate(images):
                folder = self.raw / "imagesTr" if train else self.test
                write_image(folder / f"case{number}_{channel:04d}{ENDING}", image)
            if train:
                write_image(self.raw / "labelsTr" / f"case{number}{ENDING}", labels)
        (self.raw / "dataset.json").write_text(json.dumps(dataset.json))

    def model(
        self, configuration: str = "3d_fullres", trainer: str = "MAGMSTrainer", plans: str = "MAGMSPlans"
    ) -> Path:
        """Where nnU-Net keeps a trained model."""
        return self.results / f"{trainer}__{plans}__{configuration}"

    def start(self, command: str, *arguments, **variables: str) -> subprocess.Popen:
        """Start a console script, as a user does."""
        return subprocess.Popen(
            [str(BIN / command), *map(str, arguments)],
            env=os.environ | self.variables | {"PYTHONUNBUFFERED": "1"} | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str, *arguments, **variables: str) -> str:
        """Run a console script to its end, which must be a good one; what it printed."""
        with self.start(command, *arguments, **variables) as process:
            output, _ = process.communicate()
        assert process.returncode == 0, output
        return output

    @contextmanager
    def _entered(self, **variables: str) -> Iterator[pytest.MonkeyPatch]:
        """nnU-Net's variables point here, and what costs it seconds is cut short.

        Pools are threads, intensities are taken from fewer voxels, no curves are drawn, and nnU-Net's own trainer,
        which knows none of our variables, trains for one epoch of one iteration.
        """
        from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
        from nnunetv2.training.logging import nnunet_logger
        from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

        extract, train = DatasetFingerprintExtractor.run, nnUNetTrainer.run_training

        def extract_quickly(self, **options):
            self.num_foreground_voxels_for_intensitystats = 1e4
            return extract(self, **options)

        def train_shortly(self):
            if type(self) is nnUNetTrainer:
                self.num_epochs = self.num_iterations_per_epoch = self.num_val_iterations_per_epoch = 1
            train(self)

        for seed in (random.seed, np.random.seed, torch.manual_seed):
            seed(0)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (self.variables | variables).items():
                patch.setenv(name, value)
            patch.setattr(DatasetFingerprintExtractor, "run", extract_quickly)
            patch.setattr(nnUNetTrainer, "run_training", train_shortly)
            patch.setattr(multiprocessing.get_context("spawn"), "Pool", ThreadPool)
            for logger in vars(nnunet_logger).values():
                if hasattr(logger, "plot_progress_png"):
                    patch.setattr(logger, "plot_progress_png", lambda *_: None)
            yield patch

    def _call(self, entry: Callable[[], None], *arguments, **variables: str) -> None:
        with self._entered(**variables) as patch:
            patch.setattr(sys, "argv", [entry.__name__, *map(str, arguments)])
            entry()

    def fingerprint(self) -> None:
        """nnUNetv2_extract_fingerprint in this process, from few voxels."""
        from nnunetv2.experiment_planning.plan_and_preprocess_entrypoints import extract_fingerprint_entry

        self._call(extract_fingerprint_entry, "-d", self.id, "-np", 1)

    def plan(self, *configurations: str, planner: str = "MAGMSPlanner", spacing_mm: Sequence[float] = ()) -> None:
        """Plan and preprocess in this process, with narrow networks; the only fold validates on the last case."""
        from nnunetv2.experiment_planning.plan_and_preprocess_entrypoints import plan_and_preprocess_entry

        flags = ["-d", self.id, "-pl", planner, "-c", *configurations, "-np", 1, "-npfp", 1]
        flags += ["-overwrite_target_spacing", *spacing_mm] if spacing_mm else []
        self._call(plan_and_preprocess_entry, *flags)
        for path in self.preprocessed.glob("*Plans.json"):
            narrow(path)
        splits = self.preprocessed / "splits_final.json"
        if not splits.exists():  # nnU-Net's own split needs five cases
            *train, last = sorted(path.name.removesuffix(ENDING) for path in (self.raw / "labelsTr").iterdir())
            splits.write_text(json.dumps([{"train": train or [last], "val": [last]}]))

    def plan_cascade(self) -> None:
        """Add the stages ``3d_lowres``, preprocessed, and ``3d_cascade_fullres`` to what ``plan`` has made."""
        plans_file = self.preprocessed / "MAGMSPlans.json"
        plans = json.loads(plans_file.read_text())
        fullres = plans["configurations"]["3d_fullres"]
        plans["configurations"] |= {
            "3d_lowres": fullres
            | {
                "data_identifier": "MAGMSPlans_3d_lowres",
                "spacing": [1.5 * spacing for spacing in fullres["spacing"]],
                "patch_size": [16, 16, 16],
                "next_stage": "3d_cascade_fullres",
            },
            "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
        }
        plans_file.write_text(json.dumps(plans))
        self.preprocess("3d_lowres")

    def preprocess(self, configuration: str, plans: str = "MAGMSPlans") -> None:
        """nnUNetv2_preprocess in this process."""
        from nnunetv2.experiment_planning.plan_and_preprocess_entrypoints import preprocess_entry

        self._call(preprocess_entry, "-d", self.id, "-plans_name", plans, "-c", configuration, "-np", 1)

    def train(
        self,
        configuration: str = "3d_fullres",
        fold: int | str = 0,
        *flags: str,
        trainer: str = "MAGMSTrainer",
        plans: str = "MAGMSPlans",
        epochs: int | None = 1,
    ) -> str:
        """nnUNetv2_train in this process; what it has logged.

        ``epochs``: of one iteration; with None, none of our variables is set.
        """
        from nnunetv2.run.run_training import run_training_entry

        output = self.model(configuration, trainer, plans) / f"fold_{fold}"
        before = {log: log.stat().st_size for log in output.glob("training_log*")}
        arguments = (self.id, configuration, fold, "-tr", trainer, "-p", plans, "-device", "cpu", *flags)
        self._call(run_training_entry, *arguments, **(short_run(epochs, 1) if epochs else {"nnUNet_n_proc_DA": "0"}))
        # Two trainings within a second share a file.
        return "".join(log.read_bytes()[before.get(log, 0) :].decode() for log in output.glob("training_log*"))

    def magms_predict(self, *arguments) -> int:
        """Exit code of magms_predict in this process."""
        return self._exit_code("predict", *QUIET, *arguments)

    def magms_evaluate(self, *arguments) -> int:
        """Exit code of magms_evaluate in this process; ``-f`` 0 is its default."""
        return self._exit_code("evaluate", *QUIET, *arguments)

    def magms_compare(self, *arguments) -> int:
        """Exit code of magms_compare in this process."""
        return self._exit_code("compare", *arguments)

    def _exit_code(self, command: str, *arguments) -> int:
        main = import_module(f"magms_nnunet.cli.{command}").main
        with self._entered():
            try:
                return main([*map(str, arguments)])
            except SystemExit as exit:  # by argparse
                return exit.code

    def nnunet_predict(self, *arguments) -> None:
        """nnUNetv2_predict in this process."""
        from nnunetv2.inference.predict_from_raw_data import predict_entry_point

        self._call(predict_entry_point, *arguments, *QUIET)


def short_run(epochs: int, iterations: int) -> dict[str, str]:
    """Variables for a training of that length, without processes that augment."""
    lengths = {"MAGMS_NUM_EPOCHS": str(epochs), "MAGMS_ITERATIONS_PER_EPOCH": str(iterations)}
    return {**lengths, "nnUNet_n_proc_DA": "0"}


def give(source: Path, target: Path, cases: dict[str, Iterable[int]]) -> Path:
    """Copy these channels of these cases to a new folder, ``target``."""
    target.mkdir(parents=True)
    for case, channels in cases.items():
        for channel in channels:
            shutil.copy(source / f"{case}_{channel:04d}{ENDING}", target)
    return target


def narrow(plans_file: Path) -> None:
    """Four features in every stage and a batch of two, so that a training takes seconds."""
    plans = json.loads(plans_file.read_text())
    for configuration in plans["configurations"].values():
        if "architecture" in configuration:  # else it is inherited
            architecture = configuration["architecture"]["arch_kwargs"]
            architecture["features_per_stage"] = [4] * architecture["n_stages"]
            configuration["batch_size"] = 2
    plans_file.write_text(json.dumps(plans))


def write_image(path: Path, array: np.ndarray, spacing_mm: Sequence[float] = SPACING_MM) -> None:
    """Write ``(z, y, x)``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing_mm[::-1])
    sitk.WriteImage(image, str(path))


def read_voxels(path: Path) -> np.ndarray:
    """Voxels ``(z, y, x)``."""
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def read_probabilities(path: Path) -> np.ndarray:
    """``(classes, z, y, x)`` of an .npz that ``--save_probabilities`` or ``--npz`` wrote."""
    return np.load(path)["probabilities"]


def files_in(folder: Path) -> set[str]:
    """Names of everything below a folder; none where it does not exist."""
    return {path.name for path in folder.rglob("*")}
