"""Time of a training step and of the network in prediction, as ratios to nnU-Net on the same plans, batch and machine.

    python benchmarks/step.py [--patch 48] [--modalities 4] [--device cuda] [--compile both] [--json FILE]

nnUNetTrainer and MAGMSTrainer, with each of its settings in ``harness.VARIANTS``, do whole steps (forward, loss,
backward, clip, update) on the same random batch; then their networks predict it.
"""

import argparse

import harness

from magms_nnunet.networks.subset_network import SubsetNetwork

STEP_TARGETS = {harness.EXACT: 4.4, harness.TWO: 3.75, harness.ONE: 3.75}
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
        x = batch["data"].to(args.device)
        stock, ours = (harness.for_prediction(trainers[name]) for name in (harness.STOCK, harness.EXACT))
        one = SubsetNetwork(ours, (0,)).eval()
        passes = {harness.STOCK: lambda: stock(x), ALL: lambda: ours(x), ONE: lambda: one(x[:, :1])}
        with harness.prediction(args.device):
            operations = harness.count_operations(passes)
            rows += harness.compare("forward pass", "s", harness.measure(passes, args), operations, FORWARD_TARGETS)
    return rows, {}


if __name__ == "__main__":
    main()
