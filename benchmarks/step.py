"""Time of a training step and of the network in prediction, as ratios to nnU-Net on the same plans, batch and machine.

    python benchmarks/step.py [--patch 48] [--modalities 4] [--device cuda] [--compile both] [--json FILE]

nnUNetTrainer, AnySubsetTrainer and MAGMSTrainer, with each of its settings in ``harness.VARIANTS``, do whole steps
(forward, loss, backward, clip, update) on the same random batch; then their networks predict its first sample, as the
sliding window has them predict one tile after the other, and the batch.
"""

import argparse

import harness
from torch import Tensor, nn

from magms_nnunet.networks.subset_network import SubsetNetwork

STEP_TARGETS = {harness.ANY_SUBSET: 2.5, harness.EXACT: 4.4, harness.TWO: 3.75, harness.ONE: 3.75}
TILE, BATCH = "forward pass, a tile of the sliding window", "forward pass, a batch"
ALL, ONE = "MAG-MS, all modalities", "MAG-MS, one modality"
ANY_ALL, ANY_ONE = "AnySubset, all modalities", "AnySubset, one modality"
FORWARD_TARGETS = {ALL: 1.8, ONE: 0.8, ANY_ONE: 0.85}


def main(argv: list[str] | None = None) -> None:
    """Measure and print the table."""
    harness.report(harness.parse(argv, __doc__), benchmark)


def benchmark(args: argparse.Namespace) -> tuple[list[harness.Row], dict]:
    """The rows."""
    with harness.trainers(args, harness.VARIANTS) as trainers:
        batch = harness.random_batch(args, trainers[harness.STOCK])
        steps = {name: lambda trainer=trainer: trainer.train_step(batch) for name, trainer in trainers.items()}
        operations = harness.count_operations(steps)
        rows = harness.compare("training step", "s", harness.measure(steps, args), operations, STEP_TARGETS)
        predicting = (harness.STOCK, harness.ANY_SUBSET, harness.EXACT)
        networks = [harness.for_prediction(trainers[name]) for name in predicting]
        images = batch["data"].to(args.device)
        rows += forward_rows(TILE, *networks, images[:1], args) + forward_rows(BATCH, *networks, images, args)
    return rows, {}


def forward_rows(
    what: str, stock: nn.Module, any_subset: nn.Module, magms: nn.Module, x: Tensor, args: argparse.Namespace
) -> list[harness.Row]:
    """Forward passes of ``x``, ``(B, M, *spatial)``."""
    any_one, one = (SubsetNetwork(network, (0,)).eval() for network in (any_subset, magms))
    passes = {
        harness.STOCK: lambda: stock(x),
        ANY_ALL: lambda: any_subset(x),
        ANY_ONE: lambda: any_one(x[:, :1]),
        ALL: lambda: magms(x),
        ONE: lambda: one(x[:, :1]),
    }
    with harness.prediction(args.device):
        operations = harness.count_operations(passes)
        return harness.compare(what, "s", harness.measure(passes, args), operations, FORWARD_TARGETS)


if __name__ == "__main__":
    main()
