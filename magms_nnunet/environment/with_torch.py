"""The checks that import torch and nnU-Net, run by the others in a process of their own: it may crash or hang.

``python -m magms_nnunet.environment.with_torch HOME`` prints a finding per line, as JSON.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path

from magms_nnunet.environment.accelerator import COMPILE, check_accelerator
from magms_nnunet.environment.finding import FAIL, Finding
from magms_nnunet.environment.look_up import check_look_up
from magms_nnunet.environment.self_test import self_test


def checks(home: Path) -> Iterator[Finding]:
    """One after the other; what cannot work without an earlier one is left out."""
    accelerator = check_accelerator()
    yield from accelerator
    if any(finding.status == FAIL and finding.subject == "torch" for finding in accelerator):
        return
    look_up = check_look_up()
    yield from look_up
    if any(finding.status == FAIL and finding.subject == "nnU-Net" for finding in look_up):
        return
    import torch

    torch.set_num_threads(1)  # more would wait for each other on a network this small, long if the machine is busy
    yield self_test(home, "cuda" if torch.cuda.is_available() else "cpu")


def main() -> None:
    """Entry point."""
    home, out = Path(sys.argv[1]), os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # also what libraries in C print
    os.environ[COMPILE] = "f"  # takes a minute
    with redirect_stdout(sys.stderr):  # nnU-Net talks
        for finding in checks(home):
            print(json.dumps(asdict(finding)), file=out, flush=True)


if __name__ == "__main__":
    main()
