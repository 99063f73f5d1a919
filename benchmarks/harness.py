"""What the benchmarks share: a trainer without a dataset, measuring in blocks, ratios to nnU-Net, table and JSON.

Every system is measured in the same run as nnU-Net, in alternating blocks of repeated calls: single alternating calls
would measure each other's caches. A ratio is taken within each block and its median printed, so that a machine that
slows down on the way slows both sides.
"""

import argparse
import io
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

# No log of the profiler, no warning that something older than the measured step was freed; read at torch's import.
os.environ |= {"KINETO_LOG_LEVEL": "99", "TORCH_CPP_LOG_LEVEL": "ERROR"}

import numpy as np
import torch
from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import conv_flop_count, flop_registry, register_flop_formula

from magms_nnunet.cpu.freed_memory import retain_freed_memory
from magms_nnunet.environment import tiny_model
from magms_nnunet.trainers import AnySubsetTrainer, MAGMSTrainer
from magms_nnunet.training.settings import Settings

CLASSES = 4
STOCK = "nnU-Net"
SIZES = ("modalities", "patch", "batch", "width", "blocks", "repeats")
COMPILE_VARIABLE = "nnUNet_compile"  # nnU-Net's own switch
EXACT, LEAN = "MAG-MS, all students", "MAG-MS, all students, encoders recomputed"
TWO, ONE = "MAG-MS, 2 students a step", "MAG-MS, 1 student a step"
ANY_SUBSET = "AnySubset"


def magms_trainer(**settings) -> type[nnUNetTrainer]:
    """MAGMSTrainer with these settings."""
    return type(MAGMSTrainer.__name__, (MAGMSTrainer,), {"settings": Settings(**settings)})


# What is measured beside nnU-Net: name in the tables -> trainer.
VARIANTS = {
    ANY_SUBSET: AnySubsetTrainer,
    EXACT: magms_trainer(),
    LEAN: magms_trainer(recompute_encoders=True),
    TWO: magms_trainer(students_per_step=2),
    ONE: magms_trainer(students_per_step=1),
}


@dataclass(frozen=True)
class Row:
    """One system's cost and its ratio to nnU-Net's.

    Attributes:
        what: "training step"; system: "MAG-MS, all students".
        values: one per block, in ``unit``: "s" or "MiB".
        ratios: to nnU-Net's in the same block.
        operations: floating-point operations of one call, where they were counted.
        operations_ratio: to nnU-Net's.
        target: the ratio that is aimed at.
    """

    what: str
    system: str
    unit: str
    values: list[float]
    ratios: list[float]
    operations: int | None = None
    operations_ratio: float | None = None
    target: float | None = None

    @property
    def ratio(self) -> float:
        """The median."""
        return statistics.median(self.ratios)


def compare(
    what: str,
    unit: str,
    values: dict[str, list[float]],
    operations: dict[str, int] | None = None,
    targets: dict[str, float] | None = None,
) -> list[Row]:
    """One row per system, in the order of ``values``, whose first is nnU-Net."""
    operations, targets = operations or {}, targets or {}
    stock = next(iter(values))
    return [
        Row(
            what,
            system,
            unit,
            own,
            [value / reference for value, reference in zip(own, values[stock], strict=True)],
            operations.get(system),
            operations[system] / operations[stock] if system in operations else None,
            targets.get(system),
        )
        for system, own in values.items()
    ]


def table(rows: list[Row]) -> str:
    """Markdown."""
    lines = [
        "| what | median (min - max) | ratio to nnU-Net (min - max) | ratio of operations | target |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        digits = 4 if row.unit == "s" else 1
        operations = f"{row.operations_ratio:.2f}" if row.operations_ratio is not None else ""
        target = "" if row.target is None else f"<= {row.target}{'' if row.ratio <= row.target else ', missed'}"
        value = f"{spread(row.values, digits)} {row.unit}"
        lines.append(f"| {row.what}, {row.system} | {value} | {spread(row.ratios, 2)} | {operations} | {target} |")
    return "\n".join(lines)


def spread(values: list[float], digits: int) -> str:
    """``1.20 (1.10 - 1.30)``: median, smallest and largest; the median alone of equal values."""
    median, low, high = (f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return median if low == high else f"{median} ({low} - {high})"


def parse(
    argv: list[str] | None,
    doc: str,
    *,
    training: bool = True,
    gpu_patch: int = 128,
    cpu_patch: int = 48,
    add: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
    **defaults,
) -> argparse.Namespace:
    """The flags that all benchmarks have.

    Args:
        argv: None for the command line's.
        doc: of the benchmark; its first line is the description.
        training: it trains, which nnU-Net compiles on a GPU; it predicts uncompiled unless told otherwise.
        gpu_patch: edge where there is a GPU; cpu_patch: where there is none.
        add: gives the parser flags of the benchmark's own; it may replace those that all have.
        defaults: other than the shared ones.

    Returns:
        What was given or follows from the device; ``device`` is a ``torch.device``.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0], conflict_handler="resolve")
    parser.add_argument("--patch", type=int, help=f"edge in voxels ({gpu_patch} on a GPU, else {cpu_patch})")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--modalities", type=int, default=4)
    parser.add_argument("--width", type=int, default=32, help="features of the first stage")
    parser.add_argument("--blocks", type=int, default=5, help="each gives one figure")
    parser.add_argument("--repeats", type=int, default=2, help="calls of a block")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: the GPU if there is one")
    if training:
        parser.add_argument("--compile", choices=["on", "off", "both"], help="default: on with a GPU, as in nnU-Net")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    add(parser)
    parser.set_defaults(**defaults)
    args = parser.parse_args(argv)
    gpu = (args.device or ("cuda" if torch.cuda.is_available() else "cpu")) == "cuda"
    if gpu and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU")
    args.compile = vars(args).get("compile") or ("on" if gpu and training else "off")
    if not gpu and args.compile != "off":
        parser.error(f"--compile {args.compile}: nnU-Net compiles on a GPU only")
    args.device = torch.device("cuda" if gpu else "cpu")
    args.patch = args.patch or (gpu_patch if gpu else cpu_patch)
    return args


def report(args: argparse.Namespace, benchmark: Callable[[argparse.Namespace], tuple[list[Row], dict]]) -> None:
    """Run, print and write a benchmark, once with torch.compile and once without where both are asked for.

    Args:
        args: from :func:`parse`.
        benchmark: returns its rows and what else belongs into the JSON.
    """
    if args.device.type == "cpu":
        retain_freed_memory()  # for both systems; our trainers and commands do, nnU-Net's do not
    runs = []
    for compile_ in ("off", "on") if args.compile == "both" else (args.compile,):
        os.environ[COMPILE_VARIABLE] = str(compile_ == "on")
        torch.compiler.reset()
        sizes = ", ".join(f"{name} {getattr(args, name)}" for name in SIZES)
        print(f"{describe(args.device)}; {sizes}; torch.compile {compile_}", flush=True)
        rows, more = benchmark(args)
        print(table(rows), flush=True)
        for name, value in more.items():
            print(f"{name}: {json.dumps(value)}", flush=True)
        runs.append({"compile": compile_, "rows": [{**asdict(row), "ratio": row.ratio} for row in rows], **more})
    if args.json:
        sizes = {name: getattr(args, name) for name in SIZES}
        args.json.write_text(json.dumps({"machine": describe(args.device), **sizes, "runs": runs}, indent=2))


def describe(device: torch.device) -> str:
    """Hardware and torch version."""
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return f"{name}, torch {torch.__version__}"


@contextmanager
def trainers(args: argparse.Namespace, variants: dict[str, type]) -> Iterator[dict[str, nnUNetTrainer]]:
    """nnU-Net's trainer and these, by name, nnU-Net's first."""
    with TemporaryDirectory() as folder:
        classes = {STOCK: nnUNetTrainer, **variants}
        yield {name: make_trainer(cls, Path(folder), args) for name, cls in classes.items()}


def make_trainer(trainer_class: type[nnUNetTrainer], folder: Path, args: argparse.Namespace) -> nnUNetTrainer:
    """A trainer of nnU-Net's default architecture for this patch, without a dataset."""
    content = tiny_model.plans(args.modalities) | {"continue_training": False}
    for name in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{name}"] = str(folder / name)
    data = folder / "preprocessed" / content["dataset_name"] / tiny_model.CONFIGURATION
    data.mkdir(parents=True, exist_ok=True)
    (data / "case.b2nd").touch()  # tells nnU-Net the format of cases that are never read
    _, strides, kernels, patch, _ = get_pool_and_conv_props([1.0] * 3, [args.patch] * 3, 4, 999999)
    stages = len(strides)
    configuration = content["configurations"][tiny_model.CONFIGURATION]
    configuration |= {"batch_size": args.batch, "patch_size": [int(edge) for edge in patch]}
    configuration["architecture"]["arch_kwargs"] |= {
        "n_stages": stages,
        "features_per_stage": [min(320, args.width * 2**i) for i in range(stages)],
        "kernel_sizes": kernels,
        "strides": strides,
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
    }
    dataset_json = tiny_model.dataset_json([f"m{m}" for m in range(args.modalities)], CLASSES)
    with redirect_stdout(io.StringIO()):  # nnU-Net's banner, once per trainer
        trainer = trainer_class(content, tiny_model.CONFIGURATION, 0, dataset_json, args.device)
        trainer.initialize()
    trainer.network.train()
    return trainer


def random_batch(args: argparse.Namespace, trainer: nnUNetTrainer) -> dict:
    """Images ``(B, M, *spatial)`` and one target per scale of deep supervision, ``(B, 1, *spatial_l)``."""
    patch = trainer.configuration_manager.patch_size
    scales = [np.round(np.array(patch) * scale).astype(int) for scale in trainer._get_deep_supervision_scales()]
    target = [torch.randint(0, CLASSES, (args.batch, 1, *map(int, scale))).float() for scale in scales]
    return {"data": torch.randn(args.batch, args.modalities, *patch), "target": target}


def for_prediction(trainer: nnUNetTrainer) -> nn.Module:
    """The trainer's network as nnU-Net predicts with it by default: logits of full resolution, not compiled."""
    trainer.set_deep_supervision_enabled(False)
    network = getattr(trainer.network, "_orig_mod", trainer.network).eval()
    for module in network.modules():  # MAGMSTrainer compiles the decoder on its own
        module._compiled_call_impl = None
    return network


@contextmanager
def prediction(device: torch.device) -> Iterator[None]:
    """No gradients, and mixed precision on a GPU, as nnU-Net predicts."""
    with torch.inference_mode(), torch.autocast(device.type, enabled=device.type == "cuda"):
        yield


if torch.ops.aten.mkldnn_convolution not in flop_registry:  # which magms_nnunet.cpu.convolution calls

    @register_flop_formula(torch.ops.aten.mkldnn_convolution)
    def mkldnn_flop(x_shape, w_shape, *args, out_shape=None, **kwargs) -> int:
        """As of any other convolution."""
        return conv_flop_count(x_shape, w_shape, out_shape)


class OperationsCounter(TorchDispatchMode):
    """Adds up torch's own counts of the floating-point operations of convolutions and matrix products.

    ``FlopCounterMode`` counts the same, but its hooks on modules do not bear a loss that calls ``autograd.grad``.
    """

    def __init__(self):
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        count = flop_registry.get(function.overloadpacket)
        if count is None:
            with self:  # in inference mode a convolution arrives as what it is made of
                parts = function.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        result = function(*args, **kwargs)
        if count is not None:
            self.total += count(*args, **kwargs, out_val=result)
        return result


def count_operations(calls: dict[str, Callable]) -> dict[str, int]:
    """Floating-point operations of each call, forward and backward; it is made once, for real and not compiled."""
    counted = {}
    for name, call in calls.items():
        with torch.compiler.set_stance("force_eager"), OperationsCounter() as counter:
            call()
        counted[name] = counter.total
    return counted


def measure(calls: dict[str, Callable], args: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds per call, one figure per block; the calls take turns block by block."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for block in range(args.blocks + 1):
        for name, call in calls.items():
            synchronize(args.device)
            start = time.perf_counter()
            for _ in range(args.repeats):
                call()
            synchronize(args.device)
            if block:  # the first block warms up
                seconds[name].append((time.perf_counter() - start) / args.repeats)
    return seconds


def synchronize(device: torch.device) -> None:
    """Wait for the GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize()
