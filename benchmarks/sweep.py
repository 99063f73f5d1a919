"""Network time of all subsets of a tile, as a ratio to one forward pass of nnU-Net on the same plans and machine.

    python benchmarks/sweep.py [--patch 48] [--modalities 4] [--device cuda]

Three ways to the logits of all 2^M - 1 subsets take turns block by block: nnU-Net's pass of all modalities once for
each subset (what filling costs), MAG-MS once for each subset, and the sweep of ``magms_evaluate``, which encodes once.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from step import describe, make_trainer, measure, plain, print_rows

from magms_nnunet.modalities import Modalities
from magms_nnunet.networks.subset_network import SubsetNetwork
from magms_nnunet.networks.sweep_network import SweepNetwork
from magms_nnunet.trainers import MAGMSTrainer

TARGET = 10.0  # for M = 4


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patch", type=int, default=48, help="edge in voxels")
    parser.add_argument("--modalities", type=int, default=4)
    parser.add_argument("--width", type=int, default=32, help="features of the first stage")
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3, help="passes of a block")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    args = parser.parse_args()
    args.batch = 1  # the sliding window's
    device = torch.device(args.device)
    subsets = Modalities(tuple(map(str, range(args.modalities)))).subsets()
    with tempfile.TemporaryDirectory() as folder:
        stock, ours = (make_trainer(cls, Path(folder), args, device) for cls in (nnUNetTrainer, MAGMSTrainer))
        for trainer in (stock, ours):
            trainer.set_deep_supervision_enabled(False)
            trainer.network.eval()
        x = torch.randn(1, args.modalities, *stock.configuration_manager.patch_size, device=device)
        network = plain(ours.network)
        separate = [SubsetNetwork(network, subset).eval() for subset in subsets]
        sweep = SweepNetwork(network, subsets).eval()
        with torch.inference_mode():
            seconds = measure(
                {
                    "nnU-Net, one pass": lambda: stock.network(x),
                    f"nnU-Net, {len(subsets)} passes": lambda: [stock.network(x) for _ in subsets],
                    f"MAG-MS, {len(subsets)} predictions": lambda: [
                        one(x[:, list(subset)]) for one, subset in zip(separate, subsets, strict=True)
                    ],
                    "MAG-MS, sweep": lambda: sweep(x),
                },
                args,
                device,
            )
    print(f"{describe(device)}; M = {args.modalities}, patch {args.patch}^3, batch 1, width {args.width}")
    print("| what | seconds: median (min - max) | ratio to one pass | target |\n|---|---|---|---|")
    print_rows(f"all {len(subsets)} subsets", seconds, {"MAG-MS, sweep": TARGET} if args.modalities == 4 else {})


if __name__ == "__main__":
    main()
