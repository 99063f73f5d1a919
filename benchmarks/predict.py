"""Cost of ``magms_predict`` on one case, the whole process, as a ratio to ``nnUNetv2_predict`` with the same plans.

    python benchmarks/predict.py [--edge 64] [--device cuda] [--json FILE] [--data DATASET --spacing 4]

Plans are made for a small dataset of noise, or for two cases of ``--data``, an nnU-Net raw dataset, and a model each of
nnUNetTrainer and MAGMSTrainer is written for them. Then the commands take turns, each from the start of Python to its
end. CPU seconds are those of all processes that a command starts, and change less where other work keeps the machine
busy. OMP_NUM_THREADS is taken away from both: ours would keep to it, nnU-Net's command takes all cores nevertheless.
"""

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import SimpleITK as sitk

BIN = Path(sys.executable).parent
DATASET, PLANS, CONFIGURATION = "Dataset999_Prediction", "MAGMSPlans", "3d_fullres"
MODALITIES = ("FLAIR", "T1", "T1c", "T2")
CASES = 2  # to plan on; the first one is predicted
STOCK = "nnU-Net, all modalities"
TARGETS = {"MAG-MS, all modalities": 0.8, "MAG-MS, one modality": 0.8}


def main(argv: list[str] | None = None) -> None:
    """Prepare, measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edge", type=int, default=64, help="of the generated images, in voxels")
    parser.add_argument("--data", type=Path, help="raw dataset to take a case from instead")
    parser.add_argument("--spacing", type=float, help="target spacing of the plans in mm; default: the planner's")
    parser.add_argument("--width", type=int, default=32, help="features of the first stage")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ |= {f"nnUNet_{kind}": str(folder / kind) for kind in ("raw", "preprocessed", "results")}
        write_dataset(folder, args)
        plan(folder, args)
        for trainer in ("nnUNetTrainer", "MAGMSTrainer"):
            write_model(trainer)
        model = [
            "-i",
            folder / "case",
            "-d",
            "999",
            "-c",
            CONFIGURATION,
            "-f",
            "0",
            "-p",
            PLANS,
            "-device",
            args.device,
        ]
        ours = ["magms_predict", *model, "-tr", "MAGMSTrainer", "-o", folder / "ours"]
        measured = measure(
            {
                STOCK: ["nnUNetv2_predict", *model, "-tr", "nnUNetTrainer", "-o", folder / "stock"],
                "MAG-MS, all modalities": ours,
                "MAG-MS, one modality": [*ours, "--modalities", "0"],
            },
            args.repeats,
        )
    report(measured, args)


def write_dataset(folder: Path, args: argparse.Namespace) -> None:
    """The raw dataset, and the first case's images in ``case``."""
    raw = folder / "raw" / DATASET
    for part in (raw / "imagesTr", raw / "labelsTr", folder / "case"):
        part.mkdir(parents=True)
    if args.data:
        content = json.loads((args.data / "dataset.json").read_text())
        ending = content["file_ending"]
        labels = sorted((args.data / "labelsTr").glob(f"*{ending}"))[:CASES]
        for label in labels:
            shutil.copy(label, raw / "labelsTr")
            for image in (args.data / "imagesTr").glob(f"{label.name.removesuffix(ending)}_????{ending}"):
                shutil.copy(image, raw / "imagesTr")
    else:
        labels, ending = ["case0", "case1"], ".nii.gz"
        content = {
            "channel_names": {str(channel): name for channel, name in enumerate(MODALITIES)},
            "labels": {"background": 0, "edema": 1, "core": 2, "enhancing": 3},
            "file_ending": ending,
        }
        for case in range(CASES):
            images, segmentation = noise(args.edge, case)
            for channel, image in enumerate(images):
                sitk.WriteImage(sitk.GetImageFromArray(image), raw / "imagesTr" / f"case{case}_{channel:04d}{ending}")
            sitk.WriteImage(sitk.GetImageFromArray(segmentation), raw / "labelsTr" / f"case{case}{ending}")
    (raw / "dataset.json").write_text(json.dumps(content | {"numTraining": CASES}))
    first = Path(labels[0]).name.removesuffix(ending)
    for image in (raw / "imagesTr").glob(f"{first}_*"):
        shutil.copy(image, folder / "case")


def noise(edge: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images ``(4, z, y, x)`` of a ball of noise, 0 around it, and its labels ``(z, y, x)``."""
    rng = np.random.default_rng(seed)
    radius = np.linalg.norm(np.meshgrid(*[np.linspace(-1, 1, edge)] * 3), axis=0)
    images = rng.integers(1, 1000, (len(MODALITIES), edge, edge, edge), dtype=np.int16) * (radius < 0.95)
    return images, np.select([radius < 0.2, radius < 0.4, radius < 0.6], [3, 2, 1], 0).astype(np.uint8)


def plan(folder: Path, args: argparse.Namespace) -> None:
    """Plans, with the widths that were asked for, and preprocessed cases."""
    command = [BIN / "nnUNetv2_plan_and_preprocess", "-d", "999", "-pl", "MAGMSPlanner", "-c", CONFIGURATION]
    command += ["-np", "1", "-npfp", "1"]
    if args.spacing:
        command += ["-overwrite_target_spacing", *[str(args.spacing)] * 3]
    run(command)
    path = folder / "preprocessed" / DATASET / f"{PLANS}.json"
    plans = json.loads(path.read_text())
    architecture = plans["configurations"][CONFIGURATION]["architecture"]["arch_kwargs"]
    architecture["features_per_stage"] = [f * args.width // 32 for f in architecture["features_per_stage"]]
    path.write_text(json.dumps(plans))


def write_model(trainer_name: str) -> None:
    """A model as a training leaves it, with the optimiser's state; its weights are random, which changes no time."""
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args

    with redirect_stdout(io.StringIO()):  # nnU-Net's banner and log
        trainer = get_trainer_from_args("999", CONFIGURATION, 0, trainer_name, PLANS, device=torch.device("cpu"))
        trainer.initialize()
        trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()  # a training keeps the axes to mirror
    for weight in trainer.network.parameters():
        weight.grad = torch.zeros_like(weight)
    trainer.optimizer.step()
    fold = Path(trainer.output_folder)
    fold.mkdir(parents=True, exist_ok=True)
    trainer.save_checkpoint(str(fold / "checkpoint_final.pth"))
    for name, content in (("plans", trainer.plans_manager.plans), ("dataset", trainer.dataset_json)):
        (fold.parent / f"{name}.json").write_text(json.dumps(content))


def run(command: list) -> tuple[float, float]:
    """Run a command to its end; seconds on the clock, and CPU seconds of it and all its processes."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        arguments = [str(BIN / command[0]), *map(str, command[1:])]
        process = subprocess.Popen(arguments, stdout=output, stderr=output, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            output.seek(0)
            sys.exit(f"{' '.join(map(str, command))} failed:\n{output.read()}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime


def measure(commands: dict[str, list], repeats: int) -> dict[str, list[tuple[float, float]]]:
    """Of each command, what :func:`run` returns, ``repeats`` times; they take turns, after one round to warm up."""
    measured: dict[str, list] = {name: [] for name in commands}
    for repeat in range(repeats + 1):
        for name, command in commands.items():
            figures = run(command)
            if repeat:
                measured[name].append(figures)
    return measured


def report(measured: dict[str, list[tuple[float, float]]], args: argparse.Namespace) -> None:
    """Print a Markdown table, and write the JSON."""
    print(f"{args.data or f'noise, {args.edge}^3'}, width {args.width}, {args.device}, {os.cpu_count()} cores")
    print("| what | seconds: median (min - max) | ratio | CPU seconds: median (min - max) | ratio | target |")
    print("|---|---|---|---|---|---|")
    rows = []
    for name, figures in measured.items():
        row = {"what": name, "target": TARGETS.get(name)}
        cells = [name]
        for index, kind in enumerate(("seconds", "cpu_seconds")):
            values = [figure[index] for figure in figures]
            ratio = statistics.median(
                value / reference[index] for value, reference in zip(values, measured[STOCK], strict=True)
            )
            row |= {kind: values, f"{kind}_ratio": ratio}
            cells += [f"{statistics.median(values):.1f} ({min(values):.1f} - {max(values):.1f})", f"{ratio:.2f}"]
        cells.append(f"<= {row['target']}" if row["target"] else "")
        print(f"| {' | '.join(cells)} |")
        rows.append(row)
    if args.json:
        settings = {key: value if value is None else str(value) for key, value in vars(args).items() if key != "json"}
        args.json.write_text(json.dumps({"settings": settings, "cores": os.cpu_count(), "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
