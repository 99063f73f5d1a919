"""``magms_export``: packs a trained model into a zip."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from magms_nnunet.cli import exits, flags
from magms_nnunet.errors import one_line


def parser() -> argparse.ArgumentParser:
    """Make the parser of the flags, those of nnUNetv2_export_model_to_zip with the same meaning."""
    p = argparse.ArgumentParser(
        prog="magms_export",
        description="Packs a trained model into a zip for magms_import (or nnU-Net's own import), with a manifest of "
        "hashes and the weights as safetensors. Logs and validation results, which name patients, are left out.",
    )
    add = p.add_argument
    add("-d", metavar="DATASET", required=True, help="name or id of the dataset that the model was trained on")
    add("-c", metavar="CONFIGURATION", nargs="+", required=True, help="such as 3d_fullres; of a cascade, both")
    add("-tr", metavar="TRAINER", help=f"default: {flags.TRAINED_BY}")
    add("-p", metavar="PLANS", default="MAGMSPlans", help="default: %(default)s")
    add("-f", metavar="FOLD", nargs="+", default=["0", "1", "2", "3", "4"], help="default: 0 1 2 3 4")
    add("-chk", metavar="FILE", nargs="+", default=["checkpoint_final.pth"], help="default: checkpoint_final.pth")
    add("-o", metavar="ZIP", required=True, help="the file to write")
    add("--overwrite", action="store_true", help="replace it if it exists")
    add("--trust-checkpoint", action="store_true", help=flags.TRUST)
    add("--debug", action="store_true", help="show where an error came from")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    p = parser()
    args = p.parse_args(argv)
    flags.check_folds(p, args.f)
    return exits.run(p.prog, lambda: _export(args), args.debug)


def _export(args: argparse.Namespace) -> int:
    from magms_nnunet.inference.request import ModelRequest
    from magms_nnunet.model.export import export_models

    folds = tuple(fold if fold == "all" else int(fold) for fold in args.f)
    models = [
        ModelRequest(None, args.d, configuration, args.tr, args.p, folds, args.chk[0]) for configuration in args.c
    ]
    digest = export_models(
        [model.folder() for model in models],
        Path(args.o),
        folds=folds,
        checkpoints=args.chk,
        overwrite=args.overwrite,
        trust_checkpoint=args.trust_checkpoint,
    )
    exits.say(f"{one_line(args.o)}\nSHA-256 {digest}  (tell those who import it, by another way than the file)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
