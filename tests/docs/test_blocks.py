"""Every code block of README and docs runs on a tiny model, or says why it does not.

Bash runs the block with recorders in the place of the commands. The recorded commands of this package then run in this
process, with the tiny model in the place of the trained one; commands of nnU-Net are checked by their names.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from magms_nnunet.autoload import PLANNERS, TRAINERS
from magms_nnunet.environment.tiny_model import CONFIGURATION, make_tiny_model
from tests.docs.blocks import BLOCKS, PAGES, ROOT, runnable
from tests.faults.tiny import NAMES, SHAPE, give
from tests.integration.workspace import ENDING, QUIET, write_image

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest needs it there

SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
NNUNET = {script.name for script in entry_points(group="console_scripts") if script.name.startswith("nnUNetv2_")}
COMMANDS = {name for block in BLOCKS for name in re.findall(r"\b(?:nnUNetv2|magms)_\w+", block.code)}
COMMANDS &= SCRIPTS.keys() | NNUNET
BASH, PYTHON = runnable("bash"), runnable("python")
RUN = {"magms_predict", "magms_evaluate", "magms_compare", "magms_export", "magms_import", "magms_subset_dataset"}
MODEL = "Dataset999*/AnySubsetTrainer*"
MODEL_IN_DOCS = '"results/Dataset210_BraTS/AnySubsetTrainer__MAGMSPlans__3d_fullres"'


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """All three folders of nnU-Net, with a tiny model, a raw dataset 210, and the images that the blocks name."""
    home = tmp_path_factory.mktemp("docs")
    with pytest.MonkeyPatch.context() as patch:
        for kind in ("raw", "preprocessed", "results"):
            patch.setenv(f"nnUNet_{kind}", str(home))
        make_tiny_model(home, NAMES, classes=3, trainer="AnySubsetTrainer")
        raw = home / "Dataset210_BraTS"
        give(raw / "imagesTr", {"case": range(4)})
        write_image(raw / "labelsTr" / f"case{ENDING}", np.ones(SHAPE, np.uint8))
        description = json.loads(next(home.glob("Dataset999*/*/dataset.json")).read_text())
        (raw / "dataset.json").write_text(json.dumps(description))
        shutil.copytree(raw / "imagesTr", home / "IMAGES")
        shutil.copytree(raw / "labelsTr", home / "LABELS")
        give(home / "IN", {"PATIENT": (0, 2)})
        for channel, name in ((0, "flair"), (2, "t1c")):
            shutil.copy(home / "IN" / f"PATIENT_{channel:04d}{ENDING}", home / f"{name}{ENDING}")
        shutil.copy(home / f"flair{ENDING}", home / f"a{ENDING}")
        sitk.WriteImage(sitk.ReadImage(str(home / f"t1c{ENDING}")), str(home / "b.mha"))
        patch.chdir(home)
        yield home


def recorded(script: str, folder: Path) -> list[list[str]]:
    """The calls of a bash script."""
    log, commands = folder / "log", folder / "bin"
    commands.mkdir()
    recorder = f'#!{sys.executable}\nimport json, sys\nopen({str(log)!r}, "a").write(json.dumps(sys.argv) + "\\n")\n'
    for command in COMMANDS:
        (commands / command).write_text(recorder)
        (commands / command).chmod(0o755)
    path = os.pathsep.join((str(commands), os.environ["PATH"]))
    script = "set -euo pipefail\n" + script
    result = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    calls = [json.loads(line) for line in log.read_text().splitlines()]
    return [[Path(command).name, *arguments] for command, *arguments in calls]


def with_tiny_model(command: str, arguments: list[str], folder: Path) -> list[str]:
    """The same command for the tiny model, which is no cascade and needs no filling."""
    if command in ("magms_compare", "magms_import", "magms_subset_dataset") or "--merge" in arguments:
        return arguments
    values = {"-d": "999", "-c": CONFIGURATION, "-f": "0", "-tr": "AnySubsetTrainer", "-p": "MAGMSPlans"}
    kept, skip = [], False
    for argument in arguments:
        if argument.startswith("-"):
            skip = argument in values or argument == "--fill"
        if not skip:
            kept.append(argument)
    model = [text for flag in values for text in (flag, values[flag])]
    if "-m" in arguments:
        model, kept = ["-f", "0"], [str(folder) if a == "MODEL" else a for a in kept]
    if command == "magms_export":
        return [*kept, *model]
    cases = ["-i", "IMAGES", "-l", "LABELS"] if command == "magms_evaluate" and "-i" not in kept else []
    return [*kept, *model, *cases, "--disable_tta", *QUIET]


def test_every_block_is_one_of_a_known_language_or_gives_a_reason():
    assert {block.language for block in BLOCKS} <= {
        "bash",
        "python",
        "json",
        "yaml",
        "text",
        "{toctree}",
        "{argparse}",
        "{eval-rst}",
    }
    assert {block.page for block in BASH + PYTHON} >= {"README.md", "how-to.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_block_hides_from_these_tests_by_indentation(page):
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert re.findall(r"(?:^|\n\n)( {4,}(?![-*] )\S.*)", text) == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="runs scripts with bash, which is not installed")
@pytest.mark.parametrize("block", BASH, ids=str)
def test_commands_of_a_block_run(block, home, tmp_path):
    (model,) = home.glob(MODEL)
    for command, *arguments in recorded(block.code, tmp_path):
        for flag, known in (("-tr", TRAINERS.keys() | {"nnUNetTrainer"}), ("-pl", PLANNERS.keys())):
            assert flag not in arguments or arguments[arguments.index(flag) + 1] in known, (command, arguments)
        if command.startswith("nnUNetv2_"):
            continue
        module = import_module(SCRIPTS[command].removesuffix(":main"))
        module.parser().parse_args(arguments)
        cascade = {"3d_lowres", "3d_cascade_fullres"} & {*arguments}
        if command in RUN and not cascade:
            assert module.main(with_tiny_model(command, arguments, model)) == 0


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_of_a_block_runs(block, home):
    (model,) = home.glob(MODEL)
    names = {}
    exec(compile(block.code.replace(MODEL_IN_DOCS, repr(str(model))), str(block), "exec"), names)
    if "predictor" in names:
        assert names["segmentation"].GetSize() == SHAPE[::-1]
        assert isinstance(names["segmentation"], sitk.Image)
