"""``python -m magms_nnunet.train``: nnUNetv2_train for processes that torchrun has started, on several machines."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from magms_nnunet.cli import exits, flags

if TYPE_CHECKING:
    from magms_nnunet.training.distributed import TrainRequest


def parser() -> argparse.ArgumentParser:
    """Make the parser: the flags of nnUNetv2_train with the same meaning, except ``-num_gpus``, which torchrun sets."""
    p = argparse.ArgumentParser(
        prog="magms_nnunet.train",
        description="Train a fold with all processes that torchrun starts, on one machine or several. Without "
        "torchrun, as nnUNetv2_train on one GPU or CPU.",
    )
    add = p.add_argument
    add("dataset", help="name or id")
    add("configuration", help="such as 3d_fullres")
    add("fold", help="number, or all")
    add("-tr", metavar="TRAINER", default="AnySubsetTrainer", help="default: %(default)s")
    add("-p", metavar="PLANS", default=flags.PLANS, help="default: %(default)s")
    add("-pretrained_weights", metavar="FILE", help="a checkpoint to start from")
    add("--npz", action="store_true", help="save the validation's probabilities, too")
    stage = p.add_mutually_exclusive_group()
    stage.add_argument("--c", action="store_true", help="continue from the latest checkpoint")
    stage.add_argument("--val", action="store_true", help="only the validation, of a training that has finished")
    kept = p.add_mutually_exclusive_group()
    kept.add_argument("--val_best", action="store_true", help="validate with checkpoint_best")
    kept.add_argument("--disable_checkpointing", action="store_true", help="write no checkpoint")
    add("-device", choices=["cuda", "cpu", "mps"], default="cuda", help="default: %(default)s")
    add("--debug", action="store_true", help="show where an error came from")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    p = parser()
    args = p.parse_args(argv)
    if args.pretrained_weights and args.c:
        p.error("-pretrained_weights is for the start of a training: leave it out with --c")
    return exits.run(p.prog, lambda: _train(args), args.debug)


def _train(args: argparse.Namespace) -> int:
    from magms_nnunet.training.distributed import PartnerLostError, train

    try:
        train(_request(args))
    except PartnerLostError as error:
        exits.say(f"magms_nnunet.train: {error}", sys.stderr)
        return 1
    return 0


def _request(args: argparse.Namespace) -> "TrainRequest":
    from magms_nnunet.training.distributed import TrainRequest

    return TrainRequest(
        dataset=args.dataset,
        configuration=args.configuration,
        fold=args.fold,
        trainer=args.tr,
        plans=args.p,
        device=args.device,
        pretrained_weights=args.pretrained_weights,
        continue_training=args.c,
        only_validation=args.val,
        validate_best=args.val_best,
        save_probabilities=args.npz,
        disable_checkpointing=args.disable_checkpointing,
    )
