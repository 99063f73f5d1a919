"""Cost of a training step and of the network in prediction, as ratios to nnU-Net on the same plans, batch and machine.

    python benchmarks/step.py [--patch 48] [--modalities 4] [--device cuda]

nnUNetTrainer and MAGMSTrainer do whole steps (forward, loss, backward, clip, update) on the same random batch, in
alternating blocks of repeated steps: single alternating steps would measure each other's caches. Medians of the blocks,
with their spread.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from magms_nnunet.networks.subset_network import SubsetNetwork
from magms_nnunet.trainers import MAGMSTrainer

CLASSES = 4
STEP_TARGET = 5.5
SINGLE_MODALITY_TARGET = 1.1


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patch", type=int, default=48, help="edge in voxels")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--modalities", type=int, default=4)
    parser.add_argument("--width", type=int, default=32, help="features of the first stage")
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3, help="steps of a block")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    args = parser.parse_args()
    device = torch.device(args.device)
    with tempfile.TemporaryDirectory() as folder:
        stock, ours = (make_trainer(cls, Path(folder), args, device) for cls in (nnUNetTrainer, MAGMSTrainer))
        batch = random_batch(args, stock)
        for trainer in (stock, ours):
            trainer.network.train()
        steps = measure(
            {"nnU-Net": lambda: stock.train_step(batch), "MAG-MS": lambda: ours.train_step(batch)}, args, device
        )
        for trainer in (stock, ours):
            trainer.set_deep_supervision_enabled(False)
            trainer.network.eval()
        one = SubsetNetwork(plain(ours.network), (0,)).eval()
        x = batch["data"].to(device)
        with torch.inference_mode():
            forward = measure(
                {
                    "nnU-Net, all modalities": lambda: stock.network(x),
                    "MAG-MS, all modalities": lambda: ours.network(x),
                    "MAG-MS, one modality": lambda: one(x[:, :1]),
                },
                args,
                device,
            )
    print(f"{describe(device)}; M = {args.modalities}, patch {args.patch}^3, batch {args.batch}, width {args.width}")
    print("| what | seconds: median (min - max) | ratio to nnU-Net | target |\n|---|---|---|---|")
    print_rows("training step", steps, {"MAG-MS": STEP_TARGET})
    print_rows("forward pass", forward, {"MAG-MS, one modality": SINGLE_MODALITY_TARGET})


def make_trainer(trainer_class: type, folder: Path, args: argparse.Namespace, device: torch.device) -> nnUNetTrainer:
    """A trainer of nnU-Net's default architecture for this patch, without a dataset."""
    for name in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{name}"] = str(folder / name)
    data = folder / "preprocessed/Dataset999_Random/random"
    data.mkdir(parents=True, exist_ok=True)
    (data / "case.b2nd").touch()  # tells nnU-Net the format of cases that are never read
    _, strides, kernels, patch, _ = get_pool_and_conv_props([1.0] * 3, [args.patch] * 3, 4, 999999)
    stages = len(strides)
    configuration = {
        "data_identifier": "random",
        "batch_size": args.batch,
        "batch_dice": False,
        "patch_size": [int(edge) for edge in patch],
        "normalization_schemes": ["ZScoreNormalization"] * args.modalities,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {
                "n_stages": stages,
                "features_per_stage": [min(320, args.width * 2**i) for i in range(stages)],
                "conv_op": "torch.nn.modules.conv.Conv3d",
                "kernel_sizes": kernels,
                "strides": strides,
                "n_conv_per_stage": [2] * stages,
                "n_conv_per_stage_decoder": [2] * (stages - 1),
                "conv_bias": True,
                "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                "norm_op_kwargs": {"eps": 1e-5, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }
    plans = {
        "dataset_name": "Dataset999_Random",
        "plans_name": "Random",
        "label_manager": "LabelManager",
        "continue_training": False,
        "configurations": {"random": configuration},
    }
    dataset_json = {
        "channel_names": {str(m): f"m{m}" for m in range(args.modalities)},
        "labels": {"background": 0, **{f"class {c}": c for c in range(1, CLASSES)}},
        "file_ending": ".nii.gz",
    }
    trainer = trainer_class(plans, "random", 0, dataset_json, device)
    trainer.initialize()
    return trainer


def random_batch(args: argparse.Namespace, trainer: nnUNetTrainer) -> dict:
    """Images and one target per scale of deep supervision."""
    patch = trainer.configuration_manager.patch_size
    scales = [np.round(np.array(patch) * scale).astype(int) for scale in trainer._get_deep_supervision_scales()]
    target = [torch.randint(0, CLASSES, (args.batch, 1, *map(int, scale))).float() for scale in scales]
    return {"data": torch.randn(args.batch, args.modalities, *patch), "target": target}


def measure(calls: dict[str, Callable], args: argparse.Namespace, device: torch.device) -> dict[str, list[float]]:
    """Seconds per call, one figure per block; the calls take turns block by block."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for block in range(args.blocks + 1):
        for name, call in calls.items():
            synchronize(device)
            start = time.perf_counter()
            for _ in range(args.repeats):
                call()
            synchronize(device)
            if block:  # the first block warms up
                seconds[name].append((time.perf_counter() - start) / args.repeats)
    return seconds


def synchronize(device: torch.device) -> None:
    """Wait for the GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def plain(network: torch.nn.Module) -> torch.nn.Module:
    """The network within torch.compile's wrapper."""
    return getattr(network, "_orig_mod", network)


def describe(device: torch.device) -> str:
    """Hardware and torch version."""
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return f"{name}, torch {torch.__version__}"


def print_rows(what: str, seconds: dict[str, list[float]], targets: dict[str, float]) -> None:
    """One Markdown row per call; the first is nnU-Net."""
    reference = statistics.median(next(iter(seconds.values())))
    for name, values in seconds.items():
        median = statistics.median(values)
        spread = f"{median:.3f} ({min(values):.3f} - {max(values):.3f})"
        target = f"<= {targets[name]}" if name in targets else ""
        print(f"| {what}, {name} | {spread} | {median / reference:.2f} | {target} |")


if __name__ == "__main__":
    main()
