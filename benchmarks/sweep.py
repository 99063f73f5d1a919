"""Network time of all subsets of a tile, as a ratio to one forward pass of nnU-Net on the same plans and machine.

    python benchmarks/sweep.py [--patch 48] [--modalities 4] [--device cuda] [--json FILE]

Ways to the logits of all 2^M - 1 subsets: nnU-Net's pass of all modalities once for each subset (what filling costs),
MAG-MS once for each subset, and the sweep of ``magms_evaluate``, which encodes once, without and with ``--fast``. The
sweep of AnySubsetTrainer's network is a pass for each subset.
"""

import argparse
from collections.abc import Callable

import harness
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import Tensor

from magms_nnunet.modalities import Modalities, Subset
from magms_nnunet.networks.subset_network import SubsetNetwork
from magms_nnunet.networks.sweep_network import SweepNetwork

SWEEP, FAST, ANY_SUBSET = "MAG-MS, sweep", "MAG-MS, sweep --fast", "AnySubset, sweep"
TARGETS = {SWEEP: 10.0, FAST: 8.0, ANY_SUBSET: 8.0}  # for M = 4


def main(argv: list[str] | None = None) -> None:
    """Measure and print the table."""
    args = harness.parse(argv, __doc__, training=False, batch=1)  # the sliding window's
    harness.report(args, benchmark)


def benchmark(args: argparse.Namespace) -> tuple[list[harness.Row], dict]:
    """The rows."""
    systems = {name: harness.VARIANTS[name] for name in (harness.EXACT, harness.ANY_SUBSET)}
    with harness.trainers(args, systems) as trainers:
        stock, magms, any_subset = trainers.values()
        passes = ways(args, stock, magms)
        of_any = SweepNetwork(harness.for_prediction(any_subset), subsets_of(args)).eval()
        x = random_tile(args, stock)
        passes[ANY_SUBSET] = lambda: of_any(x)
        with harness.prediction(args.device):
            operations = harness.count_operations(passes)
            seconds = harness.measure(passes, args)
    what = f"all {2**args.modalities - 1} subsets"
    return harness.compare(what, "s", seconds, operations, TARGETS if args.modalities == 4 else {}), {}


def ways(args: argparse.Namespace, stock_trainer: nnUNetTrainer, our_trainer: nnUNetTrainer) -> dict[str, Callable]:
    """One pass of nnU-Net, and each way to the logits of all subsets of one tile."""
    subsets, x = subsets_of(args), random_tile(args, stock_trainer)
    stock = harness.for_prediction(stock_trainer)
    network = harness.for_prediction(our_trainer)
    separate = {subset: SubsetNetwork(network, subset).eval() for subset in subsets}
    sweep, fast = (SweepNetwork(network, subsets, fast=fast).eval() for fast in (False, True))
    return {
        f"{harness.STOCK}, one pass": lambda: stock(x),
        f"{harness.STOCK}, {len(subsets)} passes": lambda: [stock(x) for _ in subsets],
        f"MAG-MS, {len(subsets)} predictions": lambda: [one(x[:, list(subset)]) for subset, one in separate.items()],
        SWEEP: lambda: sweep(x),
        FAST: lambda: fast(x),
    }


def subsets_of(args: argparse.Namespace) -> list[Subset]:
    """All subsets of M modalities."""
    return Modalities(tuple(map(str, range(args.modalities)))).subsets()


def random_tile(args: argparse.Namespace, trainer: nnUNetTrainer) -> Tensor:
    """``(B, M, *spatial)``"""
    return torch.randn(args.batch, args.modalities, *trainer.configuration_manager.patch_size, device=args.device)


if __name__ == "__main__":
    main()
