"""The commands of docs/reproduce.md: valid bash, and flags that our commands take. Nothing is trained."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from magms_nnunet.datasets.convert import CONVERTERS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reproduce.md"
BLOCKS = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
COMMANDS = {
    *(f"magms_{name}" for name in ("convert", "subset_dataset", "evaluate", "compare")),
    *(
        f"nnUNetv2_{n}"
        for n in ("plan_and_preprocess", "extract_fingerprint", "plan_experiment", "preprocess", "train")
    ),
}

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="runs scripts with bash, which is not installed")


@pytest.fixture(scope="module", params=["unet", "unetr"])
def calls(request, tmp_path_factory) -> list[list[str]]:
    """What the whole page would call, recorded by commands that do nothing else."""
    tmp_path = tmp_path_factory.mktemp("calls")
    log = tmp_path / "log"
    recorder = f'#!{sys.executable}\nimport json, sys\nopen({str(log)!r}, "a").write(json.dumps(sys.argv) + "\\n")\n'
    (tmp_path / "bin").mkdir()
    for command in (*COMMANDS, "python", "ls"):
        (tmp_path / "bin" / command).write_text(recorder)
        (tmp_path / "bin" / command).chmod(0o755)
    path = os.pathsep.join((str(tmp_path / "bin"), os.environ["PATH"]))
    script = "set -euo pipefail\n" + "\n".join(BLOCKS)
    environment = os.environ | {"PATH": path, "BACKBONE": request.param}
    result = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [[Path(line[0]).name, *line[1:]] for line in lines]


def test_our_commands_take_these_flags(calls):
    parsed = set()
    for command, *arguments in calls:
        if command.startswith("magms_"):
            module = import_module(f"magms_nnunet.cli.{command.removeprefix('magms_')}")
            module.parser().parse_args(arguments)
            parsed.add(command)
    assert parsed == {command for command in COMMANDS if command.startswith("magms_")}
    assert {call[1] for call in calls if call[0] == "magms_convert"} <= set(CONVERTERS)


def test_every_system_is_trained_before_it_is_evaluated(calls):
    trained, individual = set(), 0
    for command, *arguments in calls:
        if command == "nnUNetv2_train":
            trained.add((arguments[0], arguments[arguments.index("-tr") + 1]))
        elif command == "magms_evaluate":
            flags = {flag: arguments[arguments.index(flag) + 1] for flag in ("-d", "-tr")}
            assert (flags["-d"], flags["-tr"]) in trained
            individual += "--subsets" in arguments
    assert individual == 15
    assert len(trained) == 2 * 5 + 14
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "trainers").glob("*.py"))
    ours = set(re.findall(r"^class (\w+)\(", sources, re.MULTILINE))  # imported, some would need MONAI
    assert {trainer for _, trainer in trained} <= ours | {"nnUNetTrainer"}


def test_individual_models_see_every_subset_once(calls):
    subsets = set()
    for command, *arguments in calls:
        if command == "magms_subset_dataset":
            start = arguments.index("--modalities") + 1
            subsets.add(tuple(arguments[start : arguments.index("-o")]))
    assert len(subsets) == 14
    compared = [call for call in calls if call[0] == "magms_compare"][-1]
    assert compared[1].startswith("Individual=")
    assert len(compared[1].split(",")) == 15
