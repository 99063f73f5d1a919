"""How the cost of MAG-MS grows with the number of modalities M: training step, its memory, sweep over all subsets.

    python benchmarks/growth.py [--modalities 1 2 4 8] [--plot docs/cost_by_modalities.svg] [--json FILE]

Ratios are to nnU-Net with the same M. A straight line is fitted to those of the step and of its memory. The alternative
to one model for all subsets is an nnU-Net for each, 2^M - 1 of them. M = 8 means 255 subsets: the default patch and
width are small, for one such sweep to take seconds on a CPU.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import harness
import memory
import numpy as np
import sweep

STEP, SWEEP = "training step", "sweep over all subsets"
LINEAR = (STEP, memory.PEAK)
LABELS = {STEP: "time of a training step", memory.PEAK: "peak memory of the step", SWEEP: f"time of a {SWEEP}"}


def main(argv: list[str] | None = None) -> None:
    """Measure, print the table and the fits, draw."""
    args = harness.parse(argv, __doc__, gpu_patch=64, cpu_patch=32, add=own_flags, blocks=3)
    harness.report(args, benchmark)


def own_flags(parser: argparse.ArgumentParser) -> None:
    """Several M, smaller sizes, and a plot."""
    parser.add_argument("--modalities", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--width", type=int, default=16, help="features of the first stage")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="cost against M, .svg or .png")


def benchmark(args: argparse.Namespace) -> tuple[list[harness.Row], dict]:
    """The rows of every M, and the fits."""
    rows, curves = [], {STEP: {}, memory.PEAK: {}, SWEEP: {}}
    for M in args.modalities:
        for what, (stock, ours) in rows_of(argparse.Namespace(**vars(args) | {"modalities": M})).items():
            rows += [replace(row, what=f"M = {M}, {what}") for row in (stock, ours)]
            curves[what][M] = ours.ratio
    if args.plot:
        draw(curves, args.plot)
    # any two points lie on a straight line
    return rows, {"fits": {what: fit(curves[what]) for what in LINEAR if len(curves[what]) > 2}}


def rows_of(args: argparse.Namespace) -> dict[str, list[harness.Row]]:
    """Step, memory and sweep for one M: a row of nnU-Net and one of MAG-MS each."""
    with harness.trainers(args, {harness.EXACT: harness.VARIANTS[harness.EXACT]}) as trainers:
        batch = harness.random_batch(args, trainers[harness.STOCK])
        steps = {name: lambda trainer=trainer: trainer.train_step(batch) for name, trainer in trainers.items()}
        operations = harness.count_operations(steps)
        rows = {STEP: harness.compare(STEP, "s", harness.measure(steps, args), operations)}
        peaks, _ = memory.step_memory(trainers, batch)
        rows[memory.PEAK] = harness.compare(memory.PEAK, "MiB", peaks)
        window = argparse.Namespace(**vars(args) | {"batch": 1})  # the sliding window's
        stock, *_ = (ways := sweep.ways(window, *trainers.values())).values()
        passes = {harness.STOCK: stock, harness.EXACT: ways[sweep.SWEEP]}
        with harness.prediction(args.device):
            operations = harness.count_operations(passes)
            rows[SWEEP] = harness.compare(SWEEP, "s", harness.measure(passes, args), operations)
    return rows


def fit(curve: dict[int, float]) -> dict[str, float]:
    """Straight line through the ratios at each M by least squares.

    Returns:
        ``slope`` per modality, ``intercept``, and ``largest_residual``: of the ratio's distance to the line, as a
        fraction of the line.
    """
    M, ratio = np.array(list(curve.keys())), np.array(list(curve.values()))
    slope, intercept = np.polyfit(M, ratio, 1)
    line = intercept + slope * M
    residual = np.abs((ratio - line) / line).max()
    return {"slope": round(slope, 3), "intercept": round(intercept, 3), "largest_residual": round(residual, 3)}


def draw(curves: dict[str, dict[int, float]], file: Path) -> None:
    """Cost against M, beside as many nnU-Nets as there are subsets."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    M = np.arange(min(curves[STEP]), max(curves[STEP]) + 1)
    axes.plot(M, 2.0**M - 1, "k--", label="time of an nnU-Net for each subset, $2^M - 1$")
    for what, curve in curves.items():
        axes.plot(*zip(*sorted(curve.items()), strict=True), marker="o", label=f"MAG-MS, {LABELS[what]}")
    axes.set(yscale="log", xlabel="modalities M", ylabel="ratio to one nnU-Net", xticks=M)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=150)


if __name__ == "__main__":
    main()
