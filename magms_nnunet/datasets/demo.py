"""The demo: phantom data, nnU-Net's and our commands as a user would type them, and what came out of it.

Every finished step is kept in demo.json, so the same command goes on where it was interrupted.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from magms_nnunet.datasets import phantom
from magms_nnunet.errors import InputError
from magms_nnunet.evaluation.blind_guess import blind_guess
from magms_nnunet.evaluation.dice import dice, dice_of_folder, regions_from_dataset_json
from magms_nnunet.evaluation.overlay import save_overlay
from magms_nnunet.modalities import Modalities
from magms_nnunet.training.run_length import EPOCHS_VARIABLE, ITERATIONS_VARIABLE

DATASET = f"Dataset999_{phantom.NAME}"
MODEL = ("-d", "999", "-c", "3d_fullres")
TRAINER, PLANS = "MAGMSTrainer", "MAGMSPlans"
TRAIN_CASES, TEST_CASES = 20, 10
ITERATIONS = 40  # of an epoch
NARROWING = 4  # of the features per stage: 32, 64, 128 become 8, 16, 32
SUBSETS = {"T1c": ["T1c"], "T1c+F": ["T1c", "F"], "all four": ["F", "T1", "T1c", "T2"]}  # as --modalities takes them
BLIND_GUESS = "blind guess"
REGIONS = regions_from_dataset_json({"labels": phantom.LABELS})

Scores = dict[str, dict[str, float]]
"""case -> label -> Dice"""


class CommandFailed(Exception):
    """One of the demo's commands ended with an error; the message has the end of the log and says where it is."""


@dataclass(frozen=True)
class Demo:
    """A run of the demo.

    Attributes:
        out: folder for everything that is written.
        epochs: length of the training, of ITERATIONS each.
        seed: of the phantom.
    """

    out: Path
    epochs: int
    seed: int

    def run(self) -> None:
        """Do what has not been done yet, then print the table and write the picture.

        Raises:
            InputError: ``out`` holds something else, or a demo with other settings.
            CommandFailed: a command ended with an error.
        """
        start = time.perf_counter()
        self._open()
        for variables in (self._folders, self._settings):
            print("$ export", " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items()))
        self._once("phantom", self._write_phantom)
        self._once("plan", self._plan)
        self._once("train", self._train)
        for label in SUBSETS:
            self._once(f"predict {label}", lambda label=label: self._predict(label))
        scores = self._scores()
        (self.out / "dice.json").write_text(json.dumps(scores, indent=2))
        print(f"\n{dice_table(scores)}\n")
        self._draw(scores["T1c+F"])
        print(f"Picture      {self.out / 'overlay.png'}")
        print(f"Predictions  {self.out / 'predictions'}")
        print(f"Model        {self._model}")
        print(f"Everything took {time.perf_counter() - start:.0f} s.")

    @property
    def _folders(self) -> dict[str, str]:
        return {name: str(self.out / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}

    @property
    def _settings(self) -> dict[str, str]:
        length = {EPOCHS_VARIABLE: str(self.epochs), ITERATIONS_VARIABLE: str(ITERATIONS)}
        return {**length, "nnUNet_def_n_proc": "1", "nnUNet_n_proc_DA": "1"}

    @property
    def _raw(self) -> Path:
        return self.out / "nnUNet_raw" / DATASET

    @property
    def _model(self) -> Path:
        return self.out / "nnUNet_results" / DATASET / f"{TRAINER}__{PLANS}__3d_fullres"

    @property
    def _state(self) -> Path:
        return self.out / "demo.json"

    def _open(self) -> None:
        """Start a demo in ``out``, or find the one that is there."""
        settings = {"epochs": self.epochs, "seed": self.seed}
        if self._state.is_file():
            before = json.loads(self._state.read_text())["settings"]
            if before != settings:
                raise InputError(
                    f"{self.out} holds a demo with {before}, not {settings}: remove it or choose another -o"
                )
            print(f"{self.out} holds this demo already: what is done is kept (remove the folder to start over).")
        elif self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            raise InputError(f"{self.out} exists and holds something else than a demo: choose another -o")
        else:
            self.out.mkdir(parents=True, exist_ok=True)
            self._state.write_text(json.dumps({"settings": settings, "done": []}))

    def _once(self, name: str, step: Callable[[], None]) -> None:
        state = json.loads(self._state.read_text())
        if name not in state["done"]:
            start = time.perf_counter()
            step()
            print(f"  done in {time.perf_counter() - start:.0f} s", flush=True)
            state["done"].append(name)
            self._state.write_text(json.dumps(state))

    def _write_phantom(self) -> None:
        print(
            f"# a phantom dataset: {TRAIN_CASES} cases to train on, {TEST_CASES} to test, {'+'.join(phantom.MODALITIES)}"
        )
        phantom.write_phantom(self._raw, self.out / "test", TRAIN_CASES, TEST_CASES, self.seed)

    def _plan(self) -> None:
        self._call("nnUNetv2_plan_and_preprocess", *MODEL, "-pl", "MAGMSPlanner", "-np", "1", "-npfp", "1")
        plans_file = self.out / "nnUNet_preprocessed" / DATASET / f"{PLANS}.json"
        plans = json.loads(plans_file.read_text())
        architecture = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
        wide = architecture["features_per_stage"]
        architecture["features_per_stage"] = [features // NARROWING for features in wide]
        plans_file.write_text(json.dumps(plans, indent=2))
        print(
            f"# narrowed for the CPU: features_per_stage {wide} -> {architecture['features_per_stage']} in {plans_file}"
        )

    def _train(self) -> None:
        resume = ["--c"] if any((self._model / "fold_0").glob("checkpoint_*.pth")) else []
        command = ["nnUNetv2_train", "999", "3d_fullres", "0", "-tr", TRAINER, "-p", PLANS, "-device", "cpu", *resume]
        self._call(*command, watch=TrainingLine(self.epochs))

    def _predict(self, label: str) -> None:
        """Predict from a folder that holds no other files than those of the subset."""
        channels = Modalities(phantom.MODALITIES).parse(SUBSETS[label])
        given = self.out / "given" / label.replace(" ", "_")
        given.mkdir(parents=True, exist_ok=True)
        for channel in channels:
            for file in (self.out / "test" / "images").glob(f"*_{channel:04d}{phantom.FILE_ENDING}"):
                shutil.copy(file, given)
        flags = ["-i", str(given), "-o", str(self._predictions(label)), *MODEL, "-f", "0", "-device", "cpu"]
        self._call("magms_predict", *flags, "-npp", "0", "-nps", "0", "--modalities", *SUBSETS[label])

    def _predictions(self, label: str) -> Path:
        return self.out / "predictions" / label.replace(" ", "_")

    def _call(self, name: str, *arguments: str, watch: Callable[[str], None] = lambda line: None) -> None:
        """Run one of nnU-Net's or our commands; its output goes to the log, ``watch`` gets each line of it."""
        print("$", shlex.join([name, *arguments]), flush=True)
        command = [str(Path(sys.executable).parent / name), *arguments]
        last = deque(maxlen=15)
        with (
            (self.out / "log.txt").open("a", encoding="utf-8") as log,
            subprocess.Popen(
                command,
                env=os.environ | self._folders | self._settings | {"PYTHONUNBUFFERED": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
            ) as process,
        ):
            for line in process.stdout:
                log.write(line)
                last.append(line)
                watch(line)
        if process.returncode:
            raise CommandFailed(
                f"{name} ended with exit code {process.returncode}:\n{''.join(last)}The whole log: {self.out / 'log.txt'}"
            )

    def _scores(self) -> dict[str, Scores]:
        """Dice of every row of the table."""
        references = self.out / "test" / "labels"
        cases = sorted(path.name.removesuffix(phantom.FILE_ENDING) for path in references.iterdir())
        scores = {
            label: dice_of_folder(references, self._predictions(label), cases, REGIONS, phantom.FILE_ENDING)
            for label in SUBSETS
        }
        guess = blind_guess([_read(path) for path in sorted((self._raw / "labelsTr").iterdir())], REGIONS)
        scores[BLIND_GUESS] = {}
        for case in cases:
            reference = _read(references / f"{case}{phantom.FILE_ENDING}")
            scores[BLIND_GUESS][case] = {
                name: dice(np.isin(reference, values), guess[name]) for name, values in REGIONS.items()
            }
        return scores

    def _draw(self, scores: Scores) -> None:
        """The case whose Dice is the median, so that the picture neither flatters nor blames."""
        case = sorted(scores, key=lambda case: np.mean(list(scores[case].values())))[len(scores) // 2]
        file = f"{case}{phantom.FILE_ENDING}"
        images = {
            name: _read(self.out / "test" / "images" / f"{case}_{channel:04d}{phantom.FILE_ENDING}")
            for channel, name in enumerate(phantom.MODALITIES)
        }
        predictions = {f"predicted from {label}": _read(self._predictions(label) / file) for label in SUBSETS}
        reference = _read(self.out / "test" / "labels" / file)
        title = f"{case}: one model, three subsets (the test case of median Dice from T1c+F)"
        save_overlay(self.out / "overlay.png", images, reference, predictions, REGIONS, title)


class TrainingLine:
    """Shows epoch, loss and time of a training from the lines of nnU-Net's log: one line that stays, on a terminal."""

    def __init__(self, epochs: int):
        self.epochs, self.epoch, self.loss = epochs, 0, ""
        self.start = time.perf_counter()

    def __call__(self, line: str) -> None:
        """Take one line of the log."""
        if match := re.search(r"Epoch (\d+)\s*$", line):
            self.epoch = int(match[1]) + 1
        elif match := re.search(r"train_loss (-?[\d.]+|nan)", line):
            self.loss = match[1]
        elif "Epoch time" in line:
            last = self.epoch == self.epochs
            text = f"  epoch {self.epoch}/{self.epochs}, loss {self.loss}, {time.perf_counter() - self.start:.0f} s"
            if sys.stdout.isatty():
                print(f"\r{text:<60}", end="\n" if last else "", flush=True)
            elif last or self.epoch % 5 == 0:
                print(text, flush=True)


def dice_table(scores: dict[str, Scores]) -> str:
    """Mean Dice over the cases per row and label, and the mean over the labels."""
    labels = list(next(iter(next(iter(scores.values())).values())))
    lines = [f"{'predicted from':<16}" + "".join(f"{label:>8}" for label in [*labels, "mean"])]
    for row, cases in scores.items():
        means = [np.mean([case[label] for case in cases.values()]) for label in labels]
        lines.append(f"{row:<16}" + "".join(f"{mean:8.3f}" for mean in [*means, np.mean(means)]))
    count = len(next(iter(scores.values())))
    return "\n".join([f"Dice, mean over {count} test cases that were not trained on", *lines])


def _read(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
