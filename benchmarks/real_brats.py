"""Every system on real patients, at equal steps and at equal time: plan, train, evaluate, compare. Restartable.

    python benchmarks/real_brats.py --data PATH/Dataset210_BraTS --work runs/brats

``--data`` is an nnU-Net raw dataset with ``dataset_regions.json`` (whole tumour, tumour core, enhancing tumour) and
``splits_final.json``. All systems share plans, split and augmentation; each is trained by nnU-Net's command and scored
by ``magms_evaluate`` on all subsets of the modalities of the validation cases; ``magms_compare`` makes the tables. The
defaults are for CPU cores (4 mm, widths from 8); on a GPU say ``--device cuda --spacing 1 --width 32 --epochs 1000
--iterations 250``.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

BIN = Path(sys.executable).parent
CONFIGURATION, PLANS = "3d_fullres", "MAGMSPlans"
DATASET = "Dataset210_BraTS"
MODEL = ("-d", "210", "-c", CONFIGURATION, "-f", "0", "-p", PLANS)
REFERENCE = "MAGMSTrainer"  # whose time the others get
# name in the tables -> trainer, filling
SYSTEMS = {
    "MAG-MS": (REFERENCE, None),
    "MAG": ("MAGTrainer", None),
    "HeMIS": ("HeMISTrainer", None),
    "modality dropout": ("ModalityDropoutTrainer", "zero"),
    "nnU-Net, zero filled": ("nnUNetTrainer", "zero"),
    "nnU-Net, mean filled": ("nnUNetTrainer", "mean"),
}


def main() -> None:
    """Parse, then do what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the raw dataset")
    parser.add_argument("--work", type=Path, required=True, help="folder for everything that is written")
    parser.add_argument("--systems", nargs="+", default=[*SYSTEMS], choices=[*SYSTEMS], metavar="SYSTEM")
    parser.add_argument("--budgets", nargs="+", default=["steps", "time"], choices=["steps", "time"])
    parser.add_argument("--spacing", type=float, default=4, help="target spacing in mm")
    parser.add_argument("--width", type=int, default=8, help="features of the first stage (nnU-Net: 32)")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--iterations", type=int, default=25, help="iterations of an epoch")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    args = parser.parse_args()
    work = args.work.resolve()
    for folder in ("raw", "preprocessed"):
        os.environ[f"nnUNet_{folder}"] = str(work / folder)
    prepare(args.data.resolve(), work, args.spacing, args.width)
    for budget in args.budgets:
        os.environ |= {"nnUNet_results": str(work / budget)}
        evaluated = []
        for system in args.systems:
            trainer, fill = SYSTEMS[system]
            train(work, budget, trainer, args)
            out = work / "evaluations" / budget / system.replace(", ", " ").replace(" ", "_")
            if not (out / "report.html").is_file():
                flags = ["-tr", trainer, "-device", args.device, "-o", out, *(["--fill", fill] if fill else [])]
                run(BIN / "magms_evaluate", *MODEL, *flags, "-npp", "1", "-nps", "1")
            evaluated.append(f"{system}={out}")
        comparison = work / "evaluations" / budget / "comparison"
        run(BIN / "magms_compare", *evaluated, "-o", comparison, "--overwrite")


def run(*command: str | Path) -> None:
    """Run a command, shown as a person would type it."""
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


def train(work: Path, budget: str, trainer: str, args: argparse.Namespace) -> None:
    """Train fold 0, going on from the last checkpoint; at equal time the reference is the model of equal steps."""
    epochs = args.epochs
    if budget == "time":
        if trainer == REFERENCE:
            link = work / "time" / DATASET
            link.mkdir(parents=True, exist_ok=True)
            model = model_folder(work, "steps", trainer)
            if not (link / model.name).exists():
                (link / model.name).symlink_to(model)
            return
        share = seconds_per_epoch(work, REFERENCE) / seconds_per_epoch(work, trainer)
        epochs = max(1, round(args.epochs * share))
    fold = model_folder(work, budget, trainer) / "fold_0"
    if (fold / "checkpoint_final.pth").is_file():
        return
    os.environ |= {"MAGMS_NUM_EPOCHS": str(epochs), "MAGMS_ITERATIONS_PER_EPOCH": str(args.iterations)}
    resume = ["--c"] if list(fold.glob("checkpoint_*.pth")) else []
    command = [sys.executable, Path(__file__).with_name("short_training.py"), "210", CONFIGURATION, "0"]
    run(*command, "-tr", trainer, "-p", PLANS, "-device", args.device, *resume)


def model_folder(work: Path, budget: str, trainer: str) -> Path:
    """Where nnU-Net keeps this trainer's model."""
    return work / budget / DATASET / f"{trainer}__{PLANS}__{CONFIGURATION}"


def seconds_per_epoch(work: Path, trainer: str) -> float:
    """Median over the epochs of the run at equal steps."""
    logs = (model_folder(work, "steps", trainer) / "fold_0").glob("training_log_*.txt")
    return statistics.median(
        float(seconds) for log in logs for seconds in re.findall(r"Epoch time: ([\d.]+) s", log.read_text())
    )


if __name__ == "__main__":
    main()
