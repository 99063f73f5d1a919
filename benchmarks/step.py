"""Time of a training step and of the network in prediction, as ratios to nnU-Net on the same plans, batch and machine.

    python benchmarks/step.py [--patch 48] [--modalities 4] [--device cuda] [--compile both] [--json FILE]

nnUNetTrainer and MAGMSTrainer, with each of its settings in ``harness.VARIANTS``, do whole steps (forward, loss,
backward, clip, update) on the same random batch; then their networks predict its first sample, as the sliding window
has them predict one tile after the other, and the batch.
"""

import argparse

import harness
from torch import Tensor, nn

from magms_nnunet.networks.multi_encoder_unet import MultiEncoderUNet
from magms_nnunet.networks.subset_network import SubsetNetwork

STEP_TARGETS = {harness.EXACT: 4.4, harness.TWO: 3.75, harness.ONE: 3.75}
TILE, BATCH = "forward pass, a tile of the sliding window", "forward pass, a batch"
ALL, ONE = "MAG-MS, all modalities", "MAG-MS, one modality"
FORWARD_TARGETS = {ALL: 1.8, ONE: 0.8}


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
        stock, ours = (harness.for_prediction(trainers[name]) for name in (harness.STOCK, harness.EXACT))
        images = batch["data"].to(args.device)
        rows += forward_rows(TILE, stock, ours, images[:1], args) + forward_rows(BATCH, stock, ours, images, args)
    return rows, {}


def forward_rows(
    what: str, stock: nn.Module, ours: MultiEncoderUNet, x: Tensor, args: argparse.Namespace
) -> list[harness.Row]:
    """Forward passes of ``x``, ``(B, M, *spatial)``."""
    one = SubsetNetwork(ours, (0,)).eval()
    passes = {harness.STOCK: lambda: stock(x), ALL: lambda: ours(x), ONE: lambda: one(x[:, :1])}
    with harness.prediction(args.device):
        operations = harness.count_operations(passes)
        return harness.compare(what, "s", harness.measure(passes, args), operations, FORWARD_TARGETS)


if __name__ == "__main__":
    main()
