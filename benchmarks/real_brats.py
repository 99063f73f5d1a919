"""MAG-MS and nnU-Net on real patients: plan, train, predict subsets, score. Restartable at any point.

    python benchmarks/real_brats.py --data PATH/Dataset210_BraTS --work runs/brats

``--data`` is an nnU-Net raw dataset with ``dataset_regions.json`` (whole tumour, tumour core, enhancing tumour) and
``splits_final.json``. Everything runs through the stock commands, with the same plans for all systems: nnU-Net's
trainer on complete cases, MAG-MS on folders that hold only the files of the subset. The defaults are for two CPU cores
(4 mm, widths from 8); on a GPU say ``--device cuda --spacing 1 --width 32 --epochs 1000 --iterations 250``.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from magms_nnunet.evaluation.dice import dice_of_folder, regions_from_dataset_json
from magms_nnunet.modalities import Modalities

BIN = Path(sys.executable).parent
CONFIGURATION, PLANS = "3d_fullres", "MAGMSPlans"
DATASET = "Dataset210_BraTS"
SUBSETS = ("T1c F", "F", "T1", "T1c", "T2", "F T1 T1c T2")


def main() -> None:
    """Parse, run what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the raw dataset")
    parser.add_argument("--work", type=Path, required=True, help="folder for everything that is written")
    parser.add_argument("--trainers", nargs="+", default=["MAGMSTrainer", "nnUNetTrainer"])
    parser.add_argument("--spacing", type=float, default=4, help="target spacing in mm")
    parser.add_argument("--width", type=int, default=8, help="features of the first stage (nnU-Net: 32)")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--iterations", type=int, default=25, help="iterations of an epoch")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    args = parser.parse_args()
    work = args.work.resolve()
    for folder in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{folder}"] = str(work / folder)
    os.environ |= {"MAGMS_NUM_EPOCHS": str(args.epochs), "MAGMS_ITERATIONS_PER_EPOCH": str(args.iterations)}
    prepare(args.data.resolve(), work, args.spacing, args.width)
    results = {}
    for trainer in args.trainers:
        train(work, trainer, args)
        results[trainer] = evaluate(work, trainer, args.device)
        (work / "results.json").write_text(json.dumps(results, indent=2))
        print(table(results))


def run(*command: str | Path) -> None:
    """Run one of nnU-Net's or our commands, shown as a person would type it."""
    print("$", " ".join([Path(command[0]).name, *map(str, command[1:])]), flush=True)
    subprocess.run([str(part) for part in command], check=True)


def prepare(data: Path, work: Path, spacing: float, width: int) -> None:
    """Raw folder, plans, preprocessed cases; then the widths in the plans."""
    raw, preprocessed = work / "raw" / DATASET, work / "preprocessed" / DATASET
    plans_file = preprocessed / f"{PLANS}.json"
    done = preprocessed / "prepared"
    if done.is_file():
        return
    raw.mkdir(parents=True, exist_ok=True)
    for folder in ("imagesTr", "labelsTr"):
        if not (raw / folder).exists():
            (raw / folder).symlink_to(data / folder)
    shutil.copy(data / "dataset_regions.json", raw / "dataset.json")
    shutil.copy(data / "splits_final.json", raw / "splits_final.json")
    preprocessed.mkdir(parents=True, exist_ok=True)
    plan = [BIN / "nnUNetv2_plan_and_preprocess", "-d", "210", "-pl", "MAGMSPlanner", "-c", CONFIGURATION]
    run(*plan, "-np", "2", "-npfp", "2", "-overwrite_target_spacing", *[str(spacing)] * 3)
    plans = json.loads(plans_file.read_text())
    architecture = plans["configurations"][CONFIGURATION]["architecture"]["arch_kwargs"]
    architecture["features_per_stage"] = [f * width // 32 for f in architecture["features_per_stage"]]
    plans_file.write_text(json.dumps(plans, indent=2))
    done.touch()


def model_folder(work: Path, trainer: str) -> Path:
    """Where nnU-Net keeps this trainer's model."""
    return work / "results" / DATASET / f"{trainer}__{PLANS}__{CONFIGURATION}"


def train(work: Path, trainer: str, args: argparse.Namespace) -> None:
    """Train fold 0, going on from the last checkpoint; only ours know the variables for the length of the run."""
    fold = model_folder(work, trainer) / "fold_0"
    if (fold / "checkpoint_final.pth").is_file():
        return
    resume = ["--c"] if list(fold.glob("checkpoint_*.pth")) else []
    start = time.perf_counter()
    if trainer == "nnUNetTrainer":
        # nnU-Net's own trainer has no setting for its length: shorten an instance of it.
        length = f"epochs, iterations = {args.epochs}, {args.iterations}"
        code = (
            "from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as module\n"
            "from nnunetv2.run.run_training import run_training_entry\n"
            f"{length}\n"
            "initialize = module.nnUNetTrainer.__init__\n"
            "def shortened(self, plans, configuration, fold, dataset_json, device=None):\n"
            "    initialize(self, plans, configuration, fold, dataset_json, device)\n"
            "    self.num_epochs, self.num_iterations_per_epoch = epochs, iterations\n"
            "    self.num_val_iterations_per_epoch, self.save_every = max(1, iterations // 5), 5\n"
            "module.nnUNetTrainer.__init__ = shortened\n"
            "run_training_entry()\n"
        )
        command = [sys.executable, "-c", code]
    else:
        command = [BIN / "nnUNetv2_train"]
    run(*command, "210", CONFIGURATION, "0", "-tr", trainer, "-p", PLANS, "-device", args.device, *resume)
    print(f"{trainer}: this part of the training took {time.perf_counter() - start:.0f} s")


def evaluate(work: Path, trainer: str, device: str) -> dict[str, dict]:
    """Dice per subset, case and region on the validation cases of fold 0."""
    raw = work / "raw" / DATASET
    dataset_json = json.loads((raw / "dataset.json").read_text())
    modalities = Modalities.from_dataset_json(dataset_json)
    cases = json.loads((raw / "splits_final.json").read_text())[0]["val"]
    regions = regions_from_dataset_json(dataset_json)
    scores = {}
    for names in SUBSETS if trainer != "nnUNetTrainer" else SUBSETS[-1:]:
        subset = modalities.parse(names.split())
        label = modalities.format(subset)
        images, out = work / "images" / label, work / "predictions" / trainer / label
        images.mkdir(parents=True, exist_ok=True)
        for case in cases:
            for channel in subset:
                link = images / f"{case}_{channel:04d}.nii.gz"
                if not link.exists():
                    link.symlink_to(raw / "imagesTr" / link.name)
        flags = ["-i", images, "-o", out, "-d", "210", "-c", CONFIGURATION, "-f", "0", "-tr", trainer, "-p", PLANS]
        flags += ["-device", device, "-npp", "1", "-nps", "1"]
        if not all((out / f"{case}.nii.gz").is_file() for case in cases):
            if trainer == "nnUNetTrainer":
                run(BIN / "nnUNetv2_predict", *flags)
            else:
                run(BIN / "magms_predict", *flags, "--modalities", *names.split())
        scores[label] = dice_of_folder(raw / "labelsTr", out, cases, regions, dataset_json["file_ending"])
    return scores


def table(results: dict[str, dict]) -> str:
    """Markdown: mean Dice per region, with the number of cases."""
    rows = []
    for trainer, subsets in results.items():
        for label, cases in subsets.items():
            regions = list(next(iter(cases.values())))
            means = [np.mean([scores[region] for scores in cases.values()]) for region in regions]
            rows.append((f"{trainer}", label, [*means, np.mean(means)], len(cases)))
    header = f"| system | given | {' | '.join(regions)} | mean | cases |\n|---|---|{'---|' * (len(regions) + 2)}\n"
    return header + "\n".join(
        f"| {system} | {label} | {' | '.join(f'{mean:.3f}' for mean in means)} | {cases} |"
        for system, label, means, cases in rows
    )


if __name__ == "__main__":
    main()
