"""The demo: phantom data, nnU-Net's and our commands as a user would type them, and their results.

Every finished step is recorded in demo.json, so the same command continues an interrupted demo.
"""

import json
import shlex
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from magms_nnunet import __version__
from magms_nnunet.demo import phantom
from magms_nnunet.demo.blind_guess import blind_guess
from magms_nnunet.demo.commands import TrainingStatus, run_command
from magms_nnunet.errors import InputError
from magms_nnunet.images.cases import visible_files
from magms_nnunet.metrics.dice import dice, dice_of_folder, regions_from_dataset_json
from magms_nnunet.modalities import Modalities
from magms_nnunet.report.overlay import save_overlay
from magms_nnunet.storage.files import is_hidden
from magms_nnunet.storage.json_files import replace_json, write_json
from magms_nnunet.training.run_length import EPOCHS_VARIABLE, ITERATIONS_VARIABLE

DATASET = f"Dataset999_{phantom.NAME}"
MODEL = ("-d", "999", "-c", "3d_fullres")
TRAINER, PLANS = "AnySubsetTrainer", "MAGMSPlans"
TRAINED = (*MODEL, "-tr", TRAINER, "-p", PLANS, "-f", "0", "-device", "cpu")
TRAIN_CASES, TEST_CASES = 20, 10
ITERATIONS = 80  # of an epoch
NARROWING = 4  # of the features per stage: 32, 64, 128 become 8, 16, 32
SUBSETS = {"T1c": ["T1c"], "T1c+F": ["T1c", "F"], "all four": ["F", "T1", "T1c", "T2"]}  # as --modalities takes them
BLIND_GUESS = "blind guess"
REGIONS = regions_from_dataset_json({"labels": phantom.LABELS})

Scores = dict[str, dict[str, float]]
"""case -> label -> Dice"""


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
        """Do all steps that are not finished, then print the table and write the picture.

        Raises:
            InputError: ``out`` holds something else, or a demo with other settings.
            CommandError: a command ended with an error.
        """
        start = time.perf_counter()
        self.open()
        for variables in (self._folders, self._settings):
            print("$ export", " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items()))
        self.once("phantom", self._write_phantom)
        self.once("plan", self._plan)
        self.once("train", self._train)
        for label in SUBSETS:
            self.once(f"predict {label}", lambda label=label: self._predict(label))
        self.once("evaluate", self._evaluate)
        scores = self._scores()
        replace_json(self.out / "dice.json", scores)
        print(f"\n{dice_table(scores)}\n")
        self._draw(scores)
        print(f"Report       {self.out / 'evaluation' / 'report.html'}")
        print(f"Picture      {self.out / 'overlay.png'}")
        print(f"Predictions  {self.out / 'predictions'}")
        print(f"Model        {self._model}")
        print(f"This run took {time.perf_counter() - start:.0f} s.")

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

    def open(self) -> None:
        """Start a demo in ``out``, or continue an existing one.

        Raises:
            InputError: ``out`` holds something else, or a demo with other settings.
        """
        settings = {"version": __version__, "epochs": self.epochs, "seed": self.seed}
        if self._state.is_file():
            before = json.loads(self._state.read_text())["settings"]
            if before != settings:
                was, now = (", ".join(f"{name} {value}" for name, value in s.items()) for s in (before, settings))
                raise InputError(f"{self.out} holds a demo with {was}, not {now}: remove it or choose another -o")
            print(f"{self.out} holds this demo already: what is done is kept (remove the folder to start over).")
        elif self.out.exists() and (not self.out.is_dir() or not all(map(is_hidden, self.out.iterdir()))):
            raise InputError(f"{self.out} exists and holds something else than a demo: choose another -o")
        else:
            self.out.mkdir(parents=True, exist_ok=True)
            self._keep({"settings": settings, "done": []})

    def once(self, name: str, step: Callable[[], None]) -> None:
        """Do a step, unless it is finished in this folder, and print its duration."""
        state = json.loads(self._state.read_text())
        if name not in state["done"]:
            start = time.perf_counter()
            step()
            print(f"  done in {time.perf_counter() - start:.0f} s", flush=True)
            state["done"].append(name)
            self._keep(state)

    def _keep(self, state: dict) -> None:
        replace_json(self._state, state)

    def _write_phantom(self) -> None:
        modalities = ", ".join(phantom.MODALITIES)
        print(f"# a phantom dataset of {modalities}: {TRAIN_CASES} cases to train on, {TEST_CASES} to test")
        phantom.write_phantom(self._raw, self.out / "test", TRAIN_CASES, TEST_CASES, self.seed)

    def _plan(self) -> None:
        self._call("nnUNetv2_plan_and_preprocess", *MODEL, "-pl", "MAGMSPlanner", "-np", "1", "-npfp", "1")
        plans_file = self.out / "nnUNet_preprocessed" / DATASET / f"{PLANS}.json"
        plans = json.loads(plans_file.read_text())
        architecture = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
        wide = architecture["features_per_stage"]
        architecture["features_per_stage"] = [features // NARROWING for features in wide]
        for key in ("n_conv_per_stage", "n_conv_per_stage_decoder"):
            architecture[key] = [1] * len(architecture[key])
        write_json(plans_file, plans)
        change = f"features per stage {wide} -> {architecture['features_per_stage']}, one convolution per stage"
        print(f"# made small enough for a CPU: {change}, in {plans_file}")

    def _train(self) -> None:
        resume = ["--c"] if any((self._model / "fold_0").glob("checkpoint_*.pth")) else []
        command = ["nnUNetv2_train", "999", "3d_fullres", "0", "-tr", TRAINER, "-p", PLANS, "-device", "cpu", *resume]
        self._call(*command, status_from=TrainingStatus(self.epochs))

    def _predict(self, label: str) -> None:
        """Predict from a folder that holds only the files of the subset."""
        channels = Modalities(phantom.MODALITIES).parse(SUBSETS[label])
        given = self.out / "given" / label.replace(" ", "_")
        given.mkdir(parents=True, exist_ok=True)
        for channel in channels:
            for file in (self.out / "test" / "images").glob(f"*_{channel:04d}{phantom.FILE_ENDING}"):
                shutil.copy(file, given)
        flags = ["-i", str(given), "-o", str(self._predictions(label)), *TRAINED]
        self._call("magms_predict", *flags, "-npp", "0", "-nps", "0", "--modalities", *SUBSETS[label])

    def _evaluate(self) -> None:
        """Evaluate all 15 subsets of the test cases in one sweep, with a report."""
        test = self.out / "test"
        flags = ["-i", str(test / "images"), "-l", str(test / "labels"), "-o", str(self.out / "evaluation")]
        flags += [*TRAINED, "-npp", "0", "-nps", "0"]
        self._call("magms_evaluate", *flags, "--disable_tta")  # mirroring would take eight times as long

    def _predictions(self, label: str) -> Path:
        return self.out / "predictions" / label.replace(" ", "_")

    def _call(self, *command: str, status_from: Callable[[str], str | None] = lambda line: None) -> None:
        print("$", shlex.join(command), flush=True)
        run_command(command, self._folders | self._settings, self.out / "log.txt", status_from)

    def _scores(self) -> dict[str, Scores]:
        """Return the Dice of every row of the table."""
        references = self.out / "test" / "labels"
        cases = sorted(path.name.removesuffix(phantom.FILE_ENDING) for path in visible_files(references, "label"))
        scores = {
            label: dice_of_folder(references, self._predictions(label), cases, REGIONS, phantom.FILE_ENDING)
            for label in SUBSETS
        }
        guess = blind_guess([_read(path) for path in visible_files(self._raw / "labelsTr", "label")], REGIONS)
        scores[BLIND_GUESS] = {}
        for case in cases:
            reference = _read(references / f"{case}{phantom.FILE_ENDING}")
            scores[BLIND_GUESS][case] = {
                name: dice(np.isin(reference, values), guess[name]) for name, values in REGIONS.items()
            }
        return scores

    def _draw(self, scores: dict[str, Scores]) -> None:
        """Draw the case of median Dice from T1c+F, which is representative."""
        means = {
            label: {case: np.mean(list(d.values())) for case, d in cases.items()} for label, cases in scores.items()
        }
        of_cases = means["T1c+F"]
        case = sorted(of_cases, key=lambda name: of_cases[name])[len(of_cases) // 2]
        file = f"{case}{phantom.FILE_ENDING}"
        images = {
            name: _read(self.out / "test" / "images" / f"{case}_{channel:04d}{phantom.FILE_ENDING}")
            for channel, name in enumerate(phantom.MODALITIES)
        }
        predictions = {
            f"predicted from {label}\nmean Dice {means[label][case]:.2f}": _read(self._predictions(label) / file)
            for label in SUBSETS
        }
        reference = _read(self.out / "test" / "labels" / file)
        title = f"One model, three subsets of the modalities: {case}, the test case of median Dice from T1c+F"
        save_overlay(self.out / "overlay.png", images, reference, predictions, REGIONS, title)


def dice_table(scores: dict[str, Scores]) -> str:
    """Return the mean Dice over the cases per row and label, and the mean over the labels."""
    labels = list(next(iter(next(iter(scores.values())).values())))
    lines = [f"{'predicted from':<16}" + "".join(f"{label:>8}" for label in [*labels, "mean"])]
    for row, cases in scores.items():
        means = [np.mean([case[label] for case in cases.values()]) for label in labels]
        lines.append(f"{row:<16}" + "".join(f"{mean:8.3f}" for mean in [*means, np.mean(means)]))
    count = len(next(iter(scores.values())))
    return "\n".join([f"Dice, mean over {count} test cases that were not trained on", *lines])


def _read(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
