"""The flags of nnUNetv2_predict that several of our commands share, meaning the same."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from magms_nnunet.cli.parts import find_part
from magms_nnunet.errors import InputError
from magms_nnunet.trust.advice import WEAK_BELOW

if TYPE_CHECKING:
    from magms_nnunet.images.checks import InputChecks
    from magms_nnunet.inference.extras import Extras
    from magms_nnunet.inference.request import ModelRequest, WindowRequest

PLANS, TRAINED_BY = "MAGMSPlans", "the only trainer that trained such a model"
_AUTO = "auto"
TRUST = "unpickle the checkpoint whatever it holds, code included: only if you trust who made it"


def add_model(p: argparse.ArgumentParser, default_folds: tuple[str, ...]) -> None:
    """Add the flags that name a model."""
    add = p.add_argument
    add("-d", metavar="DATASET", help="name or id of the dataset that the model was trained on")
    add("-c", metavar="CONFIGURATION", help="such as 3d_fullres")
    add("-tr", metavar="TRAINER", help=f"default: {TRAINED_BY}")
    add("-p", metavar="PLANS", help=f"default: {PLANS}")
    add("-m", metavar="FOLDER", help="the model's folder, instead of -d -c -tr -p")
    add("-f", metavar="FOLD", nargs="+", default=[*default_folds], help=f"default: {' '.join(default_folds)}")
    add("-chk", metavar="FILE", default="checkpoint_final.pth", help="default: %(default)s")
    add("--trust-checkpoint", action="store_true", help=TRUST)


def add_window(p: argparse.ArgumentParser) -> None:
    """Add the flags of the prediction and of its processes."""
    add = p.add_argument
    add(
        "--fill",
        choices=["zero", "mean"],
        help="for stock networks, which need all: fill what is missing with zeros, or voxel by voxel with the mean of "
        "what is there",
    )
    add("-step_size", metavar="TILES", type=float, default=0.5, help="of the sliding window, default: %(default)s")
    add("--disable_tta", action="store_true", help="no mirroring: faster, less accurate")
    add("-npp", metavar="N", type=int, default=_number("nnUNet_npp"), help="processes that preprocess, default 3")
    add("-nps", metavar="N", type=int, default=_number("nnUNet_nps"), help="processes that export, default 3")
    parts = "number of commands that share these cases; auto: as SLURM, torchrun or MPI says"
    add("-num_parts", metavar="N", type=_parts, default=1, help=parts)
    add("-part_id", metavar="K", type=int, help="which of them this is, from 0")
    add("-device", choices=["cuda", "cpu", "mps"], help="default: the GPU if there is one")
    add("--not_on_device", action="store_true", help="collect results in host memory, for volumes that fill the GPU")
    add("--disable_progress_bar", action="store_true")
    add("--verbose", action="store_true")
    add("--debug", action="store_true", help="show where an error came from")


def add_checks(p: argparse.ArgumentParser, *, treat_empty: bool) -> None:
    """Add the flags that accept images which are refused by default; with ``treat_empty`` also empty images."""
    add_tolerance(p)
    add = p.add_argument
    add("--allow-identical", action="store_true", help="the same image may be given as two modalities")
    add("--nan-to-zero", action="store_true", help="count NaN and infinite voxels as 0")
    add(
        "--allow-two-positions",
        action="store_true",
        help="where sform, qform and spacing in a NIfTI header contradict each other, take what SimpleITK reads",
    )
    if treat_empty:
        add("--treat-empty-as-missing", action="store_true", help="leave out images that hold one value everywhere")


def add_patient(p: argparse.ArgumentParser) -> None:
    """Add the flags for the images of one patient."""
    add = p.add_argument
    add("--series", metavar="NAME=UID", nargs="+", default=[], help="the series of a modality, by UID or number")
    add(
        "--grid",
        metavar="GRID",
        help="bring one patient's images to one grid by their headers: that of a modality, 'finest' or 'isotropic'",
    )
    add("--register", choices=["rigid"], help="move the images onto that of the grid first, by mutual information")
    add("--output-type", choices=["nifti", "dicom-seg"], default="nifti", help="default: %(default)s")
    add("--keep-identifiers", action="store_true", help="let the JSON name patient, study and series of a DICOM study")


def add_trust(p: argparse.ArgumentParser) -> None:
    """Add the flags on the trust in a result."""
    add = p.add_argument
    add(
        "--save_probabilities",
        nargs="?",
        choices=["npz", "nifti"],
        const="npz",
        help="write .npz as well, for nnUNetv2_ensemble; 'nifti': a map per label or region, "
        "probability_REGION/CASE.nii.gz",
    )
    add(
        "--save_uncertainty",
        action="store_true",
        help="write the entropy of every voxel as uncertainty/CASE.nii.gz, and from several folds their disagreement "
        "as disagreement/CASE.nii.gz",
    )
    add("--preview", action="store_true", help="write a picture of each result as previews/CASE.png")
    add(
        "--weak-below",
        metavar="DICE",
        type=float,
        default=WEAK_BELOW,
        help="call a subset WEAK whose mean Dice in the attached evaluation is below this, default: %(default)s",
    )


def add_tolerance(p: argparse.ArgumentParser) -> None:
    """Add the flag of the tolerance between the grids of a case."""
    p.add_argument(
        "--geometry-tolerance",
        metavar="VOXELS",
        type=float,
        default=1e-3,
        help="largest distance between the positions of one voxel in two files of a case, default: %(default)s",
    )


def _parts(text: str) -> int | str:
    return text if text == _AUTO else int(text)


def _number(variable: str) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else 3


def check(p: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with a message and exit code 2 where values make no sense."""
    which = "say which model: either -d DATASET -c CONFIGURATION or -m FOLDER"
    named = {"-d": args.d, "-c": args.c, "-tr": args.tr, "-p": args.p}
    if args.m is not None and (given := [flag for flag, value in named.items() if value is not None]):
        p.error(f"{which}, which holds all of it: leave out {' '.join(given)}")
    if args.m is None and None in (args.d, args.c):
        p.error(which)
    if args.num_parts == _AUTO:
        if args.part_id is not None:
            p.error("-num_parts auto finds out the part: leave out -part_id")
        try:
            args.part_id, args.num_parts = find_part(os.environ)
        except InputError as error:
            p.error(str(error))
    args.part_id = args.part_id or 0
    if args.num_parts < 1:
        p.error(f"-num_parts must be 1 or more, got {args.num_parts}")
    if not 0 <= args.part_id < args.num_parts:
        p.error(f"-part_id must be from 0 to num_parts - 1 = {args.num_parts - 1}, got {args.part_id}")
    if not 0 < args.step_size <= 1:
        p.error(f"-step_size must be above 0 and at most 1, got {args.step_size}")
    check_tolerance(p, args.geometry_tolerance)
    if args.npp < 0 or args.nps < 0:
        p.error("-npp and -nps must be 0 or more")
    check_folds(p, args.f)


def check_trust(p: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Check the flags of :func:`add_trust`, as :func:`check` does."""
    if not 0 <= args.weak_below <= 1:
        p.error(f"--weak-below must be from 0 to 1, got {args.weak_below}")


def check_tolerance(p: argparse.ArgumentParser, tolerance: float) -> None:
    """Check ``--geometry-tolerance``, as :func:`check` does."""
    if not 0 <= tolerance < float("inf"):
        p.error(f"--geometry-tolerance must be 0 or more voxels, got {tolerance}")


def check_folds(p: argparse.ArgumentParser, folds: Sequence[str]) -> None:
    """Check ``-f``, as :func:`check` does."""
    for fold in folds:
        if fold != "all" and not fold.isdecimal():
            p.error(f"-f takes numbers or 'all', got {fold!r}")


def model_request(args: argparse.Namespace) -> "ModelRequest":
    """Make the request from the flags of :func:`add_model`."""
    from magms_nnunet.inference.request import ModelRequest

    return ModelRequest(
        model=Path(args.m) if args.m else None,
        dataset=args.d,
        configuration=args.c,
        trainer=args.tr,
        plans=args.p or PLANS,
        folds=tuple(fold if fold == "all" else int(fold) for fold in args.f),
        checkpoint=args.chk,
        trust_checkpoint=args.trust_checkpoint,
    )


def input_checks(args: argparse.Namespace) -> "InputChecks":
    """Make the checks from the flags of :func:`add_checks`."""
    from magms_nnunet.images.checks import InputChecks

    return InputChecks(
        geometry_tolerance=args.geometry_tolerance,
        treat_empty_as_missing=getattr(args, "treat_empty_as_missing", False),
        allow_identical=args.allow_identical,
        nan_to_zero=args.nan_to_zero,
        allow_two_positions=args.allow_two_positions,
    )


def extras(args: argparse.Namespace) -> "Extras":
    """Make the optional files from the flags of :func:`add_trust`."""
    from magms_nnunet.inference.extras import Extras

    maps = args.save_probabilities == "nifti"
    return Extras(probabilities=maps, uncertainty=args.save_uncertainty, preview=args.preview)


def window_request(args: argparse.Namespace) -> "WindowRequest":
    """Make the request from the flags of :func:`add_window`."""
    from magms_nnunet.inference.request import WindowRequest

    return WindowRequest(
        device=args.device,
        step_size=args.step_size,
        mirroring=not args.disable_tta,
        results_on_device=not args.not_on_device,
        verbose=args.verbose,
        fill=args.fill,
        fast_sweep=getattr(args, "fast", False),  # of magms_evaluate
    )
