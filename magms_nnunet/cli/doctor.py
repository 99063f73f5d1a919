"""``magms_doctor``: checks whether this machine can train and predict, and names remedies."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from magms_nnunet.cli import exits
from magms_nnunet.environment.examination import examine
from magms_nnunet.environment.finding import FAIL, WARN
from magms_nnunet.errors import one_line


def parser() -> argparse.ArgumentParser:
    """Make the parser of the flags."""
    p = argparse.ArgumentParser(
        prog="magms_doctor",
        description="Checks nnU-Net, the look-up of our trainers and planners, torch and the GPU, nnU-Net's folders, "
        "space and shared memory, then trains a tiny network for a step and predicts with it. Each line says OK, WARN "
        "or FAIL and what to do. Exit code 2 if a line says FAIL.",
    )
    p.add_argument("--json", action="store_true", help="print everything as one JSON object, at the end")
    p.add_argument(
        "--debug", action="store_true", help="show what torch and nnU-Net print, and where an error came from"
    )
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    p = parser()
    args = p.parse_args(argv)
    return exits.run(p.prog, lambda: _examine(args), args.debug)


def _examine(args: argparse.Namespace) -> int:
    findings = []
    for finding in examine(args.debug):
        findings.append(finding)
        if not args.json:
            exits.say(one_line(finding))
    failures, warnings = (sum(finding.status == status for finding in findings) for status in (FAIL, WARN))
    if args.json:
        exits.say(json.dumps({"ok": not failures, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        exits.say(f"{failures} failures, {warnings} warnings")
    return 2 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
