"""``magms_serve``: loads models once, predicts the images of clients over HTTP, and shows results on a page."""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict

from magms_nnunet.cli import exits, flags
from magms_nnunet.serve.server import ServeRequest, resolved, serve
from magms_nnunet.serve.settings import Limits, Models

_MIB = 1 << 20


def parser() -> argparse.ArgumentParser:
    """Make the parser of the flags."""
    p = argparse.ArgumentParser(
        prog="magms_serve",
        description="Serve models over HTTP, with a page at /. Listens on this machine alone unless --host says "
        "otherwise; then clients must send the token in the variable MAGMS_SERVE_TOKEN.",
    )
    add, limits = p.add_argument, Limits()
    add("-m", metavar="FOLDER", action="append", required=True, help="a model's folder; may be repeated")
    add("-f", metavar="FOLD", nargs="+", help="default: all that are trained")
    add("-chk", metavar="FILE", default="checkpoint_final.pth", help="default: %(default)s")
    add("--trust-checkpoint", action="store_true", help=flags.TRUST)
    add("--host", metavar="ADDRESS", default="127.0.0.1", help="default: %(default)s")
    add("--port", metavar="N", type=int, default=8000, help="default: %(default)s; 0: any that is free")
    add("--queue", metavar="N", type=int, default=limits.waiting, help="jobs that may wait, default: %(default)s")
    add("--keep", metavar="N", type=int, default=limits.kept, help="results held in memory, default: %(default)s")
    add("--keep-minutes", metavar="N", type=float, default=limits.keep_s / 60, help="for so long, default: %(default)g")
    add(
        "--max-upload-mib",
        metavar="N",
        type=int,
        default=limits.upload_bytes // _MIB,
        help="size of one patient's files, unpacked, default: %(default)s",
    )
    add(
        "--stop-seconds",
        metavar="N",
        type=float,
        default=limits.stop_s,
        help="that the case which runs may take to finish after SIGTERM, default: %(default)g",
    )
    flags.add_checks(p, treat_empty=True)
    add("--fill", choices=["zero", "mean"], help="for stock networks: how a missing modality is filled up")
    add("-step_size", metavar="TILES", type=float, default=0.5, help="of the sliding window, default: %(default)s")
    add("--disable_tta", action="store_true", help="no mirroring: faster, less accurate")
    add("-device", choices=["cuda", "cpu", "mps"], help="default: every GPU, a worker each, or the CPU")
    add("--not_on_device", action="store_true", help="collect results in host memory, for volumes that fill the GPU")
    add("--debug", action="store_true", help="show where an error came from")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    p = parser()
    args = p.parse_args(argv)
    _check(p, args)
    return exits.run(p.prog, lambda: _serve(args), args.debug)


def _check(p: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if not 0 < args.step_size <= 1:
        p.error(f"-step_size must be above 0 and at most 1, got {args.step_size}")
    if not 0 <= args.port < 1 << 16:
        p.error(f"--port must be from 0 to 65535, got {args.port}")
    for flag in ("queue", "keep", "keep_minutes", "max_upload_mib", "stop_seconds"):
        if not getattr(args, flag) > 0:
            p.error(f"--{flag.replace('_', '-')} must be above 0, got {getattr(args, flag)}")
    flags.check_tolerance(p, args.geometry_tolerance)
    flags.check_folds(p, args.f or ())


def _serve(args: argparse.Namespace) -> int:
    exits.starting("magms_serve", True)
    models = Models(
        folders=resolved(args.m),
        folds=None if args.f is None else tuple(fold if fold == "all" else int(fold) for fold in args.f),
        checkpoint=args.chk,
        trust_checkpoint=args.trust_checkpoint,
        device=args.device,
        step_size=args.step_size,
        mirroring=not args.disable_tta,
        results_on_device=not args.not_on_device,
        fill=args.fill,
        threads=os.environ.get("OMP_NUM_THREADS", ""),
        checks=asdict(flags.input_checks(args)),
    )
    limits = Limits(
        upload_bytes=args.max_upload_mib * _MIB,
        waiting=args.queue,
        kept=args.keep,
        keep_s=args.keep_minutes * 60,
        stop_s=args.stop_seconds,
    )
    serve(ServeRequest(models, limits, args.host, args.port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
