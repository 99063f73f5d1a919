"""Accuracy of several systems at equal wall clock, on real patients, through nnU-Net's own commands. Restartable.

    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/accuracy.py --data PATH/Dataset240_BraTSCubes --work runs/accuracy

``--data`` is an nnU-Net raw dataset with ``splits_final.json``; where it has a ``dataset_regions.json``, its regions
are trained. The budget is the time of so many training steps of stock nnU-Net, loading and augmentation included: each
system's step is timed beside stock nnU-Net's, and it is trained for as many steps as fit. All systems share plans,
split and augmentation, and are scored by ``magms_evaluate`` on every subset of the modalities. Differences are taken
per patient over all folds and repeats, against the first system.

    ... --work runs/holes --missing FLAIR=0.2 T1=0.4 T1c=0.6 T2=0.8 --beside runs/accuracy \\
        --systems AnySubset "AnySubset, complete cases only" "modality dropout" "AnySubset, nothing missing"

With ``--missing``, patients of a fold's training part lack scans; what it validates on stays complete. Each fold has a
raw dataset of links, plans and preprocessed cases of its own. ``--missing`` without a rate is for data whose patients
lack scans already. ``--beside`` names the ``--work`` of a run of the same data, folds and budgets without missing
scans, whose AnySubset joins the tables.
"""

import argparse
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accuracy_tables import write_tables
from missing_scans import complete_only_splits, draw, link_dataset

PLANS, STOCK = "MAGMSPlans", "nnUNetTrainer"
EPOCH = 40  # iterations, fewer where a training would have fewer than 5 epochs to lower its learning rate in
FEWEST_EPOCHS = 5
COMPLETE_ONLY, NOTHING_MISSING = "AnySubset, complete cases only", "AnySubset, nothing missing"
DEDICATED = "dedicated models with Muon"  # one per subset, all of them together in the time of one model
# name in the tables -> trainer, filling
SYSTEMS = {
    "AnySubset": ("AnySubsetTrainer", None),
    COMPLETE_ONLY: ("AnySubsetTrainer", None),
    NOTHING_MISSING: ("AnySubsetTrainer", None),
    "modality dropout": ("ModalityDropoutTrainer", "zero"),
    "modality dropout, Muon": ("ModalityDropoutMuonTrainer", "zero"),
    "MAG-MS": ("MAGMSTrainer", None),
    "MAG": ("MAGTrainer", None),
    "HeMIS": ("HeMISTrainer", None),
    "nnU-Net, all modalities": (STOCK, None),
    "nnU-Net with Muon, all modalities": ("MuonTrainer", None),
    DEDICATED: ("DedicatedTrainer", "zero"),
    "nnU-Net, zero filled": (STOCK, "zero"),
    "nnU-Net, mean filled": (STOCK, "mean"),
}


def main() -> None:
    """Parse, then do what is missing, one fold of all systems after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the raw dataset")
    parser.add_argument("--work", type=Path, required=True, help="folder for everything that is written")
    parser.add_argument("--systems", nargs="+", default=["AnySubset", "modality dropout"], metavar="SYSTEM")
    parser.add_argument("--trainers", nargs="+", default=[], metavar="TRAINER", help="more systems, by class name")
    parser.add_argument("--folds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--repeats", type=int, default=1, help="trainings of each system and fold")
    parser.add_argument("--budgets", nargs="+", type=int, default=[800], help="in training steps of stock nnU-Net")
    parser.add_argument("--configuration", default="3d_fullres")
    parser.add_argument("--width", type=int, default=8, help="features of the first stage (nnU-Net: 32)")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--spacing", type=float, nargs="+", help="target spacing in mm; default: the planned one")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument(
        "--missing", nargs="*", metavar="MODALITY=RATE", help="of the training patients; of those not named, 0"
    )
    parser.add_argument("--missing-seed", type=int, default=0, help="which patients lack what")
    parser.add_argument("--beside", type=Path, help="--work of the same run without --missing")
    parser.add_argument("--tables-only", action="store_true", help="train nothing, write the tables of what there is")
    args = parser.parse_args()
    systems = {name: SYSTEMS[name] for name in args.systems} | {name: (name, None) for name in args.trainers}
    work, dataset = args.work.resolve(), args.data.name
    os.environ |= {"nnUNet_extTrainer": str(Path(__file__).parent / "trainers")}
    costs: dict[str, float] = {}
    for fold in args.folds if not args.tables_only else []:
        prepare(args, use_data_of(work, fold, args), fold)
        costs = costs or {trainer: cost(work, dataset, trainer, fold, args) for trainer, _ in systems.values()}
    for budget in args.budgets:
        for repeat in range(args.repeats):
            run_folder = work / f"budget_{budget}" / f"repeat_{repeat}"
            for fold in args.folds if not args.tables_only else []:
                use_data_of(work, fold, args)
                results = run_folder / "results" / (f"fold_{fold}" if args.missing is not None else "")
                os.environ |= {"nnUNet_results": str(results)}
                for name, (trainer, fill) in systems.items():
                    evaluation = run_folder / "evaluations" / f"{name}_fold{fold}".replace(", ", "_").replace(" ", "_")
                    if name == NOTHING_MISSING:
                        link_evaluation(evaluation, args)
                        continue
                    if name == DEDICATED:
                        dedicated(results, evaluation, dataset, fold, budget / costs[trainer], args)
                        continue
                    split = complete_only(fold, args) if name == COMPLETE_ONLY else fold
                    train(results, dataset, trainer, split, budget / costs[trainer], args)
                    evaluate(evaluation, dataset, trainer, fill, split, args)
        write_tables(work / f"budget_{budget}", list(systems), patients_of(args.data))


def run(*command: str | Path) -> None:
    """Run a command, shown as a person would type it."""
    print("$", " ".join([Path(command[0]).name, *map(str, command[1:])]), flush=True)
    subprocess.run([str(part) for part in command], check=True)


def tool(name: str) -> Path:
    """A command of this environment."""
    return Path(sys.executable).parent / name


def use_data_of(work: Path, fold: int, args: argparse.Namespace) -> Path:
    """The folder of raw and preprocessed cases, which nnU-Net is told of: with missing scans, each fold has its own."""
    folder = work / f"data_of_fold_{fold}" if args.missing is not None else work
    os.environ |= {f"nnUNet_{kind}": str(folder / kind) for kind in ("raw", "preprocessed")}
    return folder


def complete_only(fold: int, args: argparse.Namespace) -> int:
    """Number of the split that trains on the complete cases of a fold alone."""
    return fold + len(json.loads((args.data / "splits_final.json").read_text()))


def link_evaluation(evaluation: Path, args: argparse.Namespace) -> None:
    """Let the evaluation of AnySubset in ``--beside`` stand for that of a dataset without missing scans."""
    fold = evaluation.name.rpartition("_")[2]
    beside = args.beside.resolve() / evaluation.relative_to(args.work.resolve()).parent / f"AnySubset_{fold}"
    if not (beside / "scores.csv").is_file():
        sys.exit(f"{beside} has no scores.csv: run the same data, folds and budgets there without --missing")
    evaluation.parent.mkdir(parents=True, exist_ok=True)
    if not evaluation.is_symlink():
        evaluation.symlink_to(beside)


def prepare(args: argparse.Namespace, folder: Path, fold: int) -> None:
    """Raw folder, plans, preprocessed cases; then widths and batch size in the plans."""
    raw, preprocessed = folder / "raw" / args.data.name, folder / "preprocessed" / args.data.name
    done = preprocessed / "prepared"
    if done.is_file():
        return
    names = list(json.loads((args.data / "dataset.json").read_text())["channel_names"].values())
    splits = json.loads((args.data / "splits_final.json").read_text())
    rates = dict.fromkeys(names, 0.0) | {name: float(rate) for name, rate in (m.split("=") for m in args.missing or [])}
    if unknown := rates.keys() - set(names):
        sys.exit(f"--missing {' '.join(unknown)}: the modalities are {' '.join(names)}")
    cases = [case for part in splits[fold].values() for case in part]
    drawn = draw(cases, patients_of(args.data), [*rates.values()], args.missing_seed)
    channels = {case: drawn[case] for case in splits[fold]["train"]}
    channels = link_dataset(args.data, raw, channels)
    regions = args.data / "dataset_regions.json"
    shutil.copy(regions if regions.is_file() else args.data / "dataset.json", raw / "dataset.json")
    plan = [tool("nnUNetv2_plan_and_preprocess"), "-d", dataset_id(args.data.name), "-pl", "MAGMSPlanner"]
    spacing = ["-overwrite_target_spacing", *args.spacing] if args.spacing else []
    run(*plan, "-c", args.configuration, "-np", "1", "-npfp", "1", *map(str, spacing))
    if args.missing is not None:
        splits += complete_only_splits(splits, channels, len(names))
    (preprocessed / "splits_final.json").write_text(json.dumps(splits, indent=2))
    plans_file = preprocessed / f"{PLANS}.json"
    plans = json.loads(plans_file.read_text())
    configuration = plans["configurations"][args.configuration]
    architecture = configuration["architecture"]["arch_kwargs"]
    architecture["features_per_stage"] = [f * args.width // 32 for f in architecture["features_per_stage"]]
    configuration["batch_size"] = args.batch
    plans_file.write_text(json.dumps(plans, indent=2))
    done.touch()


def dataset_id(name: str) -> str:
    """``240`` of ``Dataset240_BraTSCubes``."""
    return str(int(name[len("Dataset") :].split("_")[0]))


def cost(work: Path, dataset: str, trainer: str, fold: int, args: argparse.Namespace) -> float:
    """Time of a training step as a ratio to stock nnU-Net's, which takes complete cases, measured once and kept."""
    file = work / "costs.json"
    costs = json.loads(file.read_text()) if file.is_file() else {STOCK: 1.0}
    if trainer not in costs:
        os.environ |= {"nnUNet_results": str(work / "costs")}
        split = complete_only(fold, args) if args.missing is not None else fold
        about = [dataset_id(dataset), args.configuration, split, args.device, trainer]
        command = [sys.executable, __file__, "--cost", *about]
        output = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout
        costs[trainer] = float(output.split()[-1])
        file.write_text(json.dumps(costs, indent=2))
    print(f"a step of {trainer} costs {costs[trainer]:.2f} of stock nnU-Net's", flush=True)
    return costs[trainer]


def measure_cost(dataset: str, configuration: str, fold: str, device: str, name: str) -> None:
    """Print the ratio: median over 40 blocks of 3 steps in alternating order, each step with loading its batch."""
    from nnunetv2.run.run_training import get_trainer_from_args

    trainers = [
        get_trainer_from_args(dataset, configuration, int(fold), trainer, PLANS, device=torch.device(device))
        for trainer in (STOCK, name)
    ]
    use_allowed_cores()
    trainers[0].takes_incomplete_cases = True  # among those for validation, which no step sees
    for trainer in trainers:
        trainer.initialize()
        trainer.dataloader_train, trainer.dataloader_val = trainer.get_dataloaders()
        trainer.network.train()
    clock = time.process_time if device == "cpu" else time.perf_counter  # a busy machine does not slow the former
    ratios = []
    for block in range(42):
        seconds = [0.0, 0.0]
        for which in (0, 1) if block % 2 else (1, 0):
            start = clock()
            for _ in range(3):
                trainers[which].train_step(next(trainers[which].dataloader_train))
            if device == "cuda":
                torch.cuda.synchronize()
            seconds[which] = clock() - start
        if block > 1:  # the first ones warm up
            ratios.append(seconds[1] / seconds[0])
    print(statistics.median(ratios))


def use_allowed_cores() -> None:
    """Keep nnU-Net from starting a thread per core of the machine where fewer are allowed."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0))))
    torch.set_num_threads = lambda number: None


def train(results: Path, dataset: str, trainer: str, fold: int, steps: float, args: argparse.Namespace) -> None:
    """Train a fold, going on from the last checkpoint."""
    iterations = min(EPOCH, max(1, round(steps / FEWEST_EPOCHS)))
    epochs = max(1, round(steps / iterations))
    model = results / dataset / f"{trainer}__{PLANS}__{args.configuration}" / f"fold_{fold}"
    if (model / "checkpoint_final.pth").is_file():
        return
    os.environ |= {"MAGMS_NUM_EPOCHS": str(epochs), "MAGMS_ITERATIONS_PER_EPOCH": str(iterations)}
    resume = ["--c"] if list(model.glob("checkpoint_*.pth")) else []
    command = [sys.executable, __file__, "--train", dataset_id(dataset), args.configuration, fold]
    run(*map(str, command), "-tr", trainer, "-p", PLANS, "-device", args.device, *resume)


def nnunet_train(arguments: list[str]) -> None:
    """``nnUNetv2_train``; nnU-Net's own trainers have no setting for their length, so it is applied to them as well."""
    from nnunetv2.run.run_training import run_training_entry
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from magms_nnunet.training.run_length import run_length_from_environment

    construct = nnUNetTrainer.__init__

    def constructed(self, plans, configuration, fold, dataset_json, device=None):  # nnU-Net reads these names
        construct(self, plans, configuration, fold, dataset_json, device)
        for attribute, value in run_length_from_environment().items():
            setattr(self, attribute, value)

    nnUNetTrainer.__init__ = constructed
    nnUNetTrainer.perform_actual_validation = lambda self, save_probabilities=False: None  # magms_evaluate scores
    use_allowed_cores()
    sys.argv = ["nnUNetv2_train", *arguments]
    run_training_entry()


def dedicated(results: Path, evaluation: Path, dataset: str, fold: int, steps: float, args: argparse.Namespace) -> None:
    """Train and score a model for each subset; all models share the steps."""
    names = list(json.loads((args.data / "dataset.json").read_text())["channel_names"].values())
    subsets = [subset for k in range(1, len(names) + 1) for subset in combinations(range(len(names)), k)]
    scores = []
    for subset in subsets:
        label = "+".join(names[channel] for channel in subset)
        own_results = results / "dedicated" / label
        os.environ |= {"nnUNet_results": str(own_results), "DEDICATED_TO": "+".join(map(str, subset))}
        train(own_results, dataset, "DedicatedTrainer", fold, steps / len(subsets), args)
        evaluate(evaluation / label, dataset, "DedicatedTrainer", "zero", fold, args, label)
        scores.append(pd.read_csv(evaluation / label / "scores.csv"))
    pd.concat(scores).to_csv(evaluation / "scores.csv", index=False)
    os.environ |= {"nnUNet_results": str(results)}


def evaluate(
    out: Path,
    dataset: str,
    trainer: str,
    fill: str | None,
    fold: int,
    args: argparse.Namespace,
    subset: str | None = None,
) -> None:
    """Score a fold on every subset that the system takes, or on one."""
    if (out / "report.html").is_file():
        return
    model = ["-d", dataset_id(dataset), "-c", args.configuration, "-f", str(fold), "-p", PLANS, "-tr", trainer]
    flags = ["-device", args.device, "--disable_tta", "-npp", "0", "-nps", "0", "--disable_progress_bar"]
    flags += ["--fill", fill] if fill else []
    flags += ["--subsets", subset] if subset else []
    run(tool("magms_evaluate"), *model, "-o", out, *flags)


def patients_of(data: Path) -> dict[str, str]:
    """Case -> patient where ``patients.csv`` lists them; else each case is a patient."""
    file = data / "patients.csv"
    if not file.is_file():
        return {}
    with file.open(newline="", encoding="utf-8") as rows:
        return {row["case"]: row["patient"] for row in csv.DictReader(rows) if "case" in row}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--cost"]:
        measure_cost(*sys.argv[2:])
    elif sys.argv[1:2] == ["--train"]:
        nnunet_train(sys.argv[2:])
    else:
        np.random.seed(0)
        main()
