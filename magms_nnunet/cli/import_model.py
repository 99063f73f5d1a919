"""``magms_import``: installs a model from a zip, after a check of its content."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from magms_nnunet.cli import exits, flags
from magms_nnunet.errors import listing, one_line
from magms_nnunet.nnunet.folders import nnunet_folder

_NAMED = 5
_LONGEST = 200  # characters of a name


def parser() -> argparse.ArgumentParser:
    """Make the parser of the flags."""
    p = argparse.ArgumentParser(
        prog="magms_import",
        description="Installs the models of a zip that magms_export or nnUNetv2_export_model_to_zip wrote in "
        "nnUNet_results. Paths, sizes, hashes, plans and checkpoints are checked first; if anything is wrong, nothing "
        "is installed.",
    )
    p.add_argument("-i", metavar="ZIP", required=True, help="the file to import")
    p.add_argument("--overwrite", action="store_true", help="replace models that are there already")
    p.add_argument("--trust-checkpoint", action="store_true", help=flags.TRUST)
    p.add_argument("--debug", action="store_true", help="show where an error came from")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    p = parser()
    args = p.parse_args(argv)
    return exits.run(p.prog, lambda: _import(args), args.debug)


def _import(args: argparse.Namespace) -> int:
    from magms_nnunet.model.install import install_models

    installed, left_out = install_models(
        Path(args.i),
        nnunet_folder("nnUNet_results"),
        overwrite=args.overwrite,
        trust_checkpoint=args.trust_checkpoint,
    )
    for model in installed:
        exits.say(one_line(f"{model.folder}: {', '.join(model.modalities)}; fold {', '.join(model.folds)}"))
        if not model.has_manifest:
            exits.say("note: it came without hashes, so nothing says whether its files are as they were exported")
        if model.same_id:
            dataset = model.folder.parent.name
            others = one_line(", ".join(model.same_id))
            exits.say(f"note: {others} has the same id: give nnU-Net's commands the name, -d {dataset}")
    if left_out:
        names = one_line(listing((name[:_LONGEST] for name in left_out), _NAMED))
        exits.say(f"note: not needed by a model and left out: {names}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
