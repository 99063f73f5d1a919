"""Imports flow one way, and what must start fast does not import torch."""

import ast
import pkgutil
import subprocess
import sys
from importlib.util import resolve_name
from pathlib import Path

import pytest

from magms_nnunet import cli

ROOT = Path(__file__).parents[1]

# group -> the groups that it may import, besides itself and SHARED. A group stands below all that it may import.
ALLOWED = {
    "modalities": set(),
    "checkpoints": set(),
    "geometry": set(),
    "labels": set(),
    "nifti_header": {"geometry"},
    "image_files": {"geometry", "nifti_header"},
    "cases": {"modalities", "geometry", "image_files"},
    "raw_dataset": set(),
    "nnunet_folders": set(),
    "incomplete_cases": {"raw_dataset", "autoload", "preprocessing", "training"},  # the latter two when called
    "appearance": {"image_files"},
    "checks": {"modalities", "appearance", "cases", "geometry", "image_files"},
    "agreement": {"modalities"},
    "model_json": {"modalities", "agreement"},
    "networks": {"modalities"},
    "losses": {"modalities", "networks"},
    "training": {"modalities", "geometry", "agreement", "model_json", "checkpoints", "networks", "losses"},
    "preprocessing": {"modalities", "labels", "raw_dataset", "geometry", "image_files", "cases", "checks", "autoload"},
    "inference": {
        "modalities",
        "appearance",
        "cases",
        "checks",
        "agreement",
        "model_json",
        "checkpoints",
        "networks",
        "nnunet_folders",
        "preprocessing",
        "autoload",
    },
    "evaluation": {
        "modalities",
        "labels",
        "nnunet_folders",
        "raw_dataset",
        "model_json",
        "appearance",
        "cases",
        "checks",
        "preprocessing",
        "inference",
    },
    "sharing": {"checkpoints", "model_json", "inference"},
    "datasets": {
        "modalities",
        "labels",
        "nnunet_folders",
        "raw_dataset",
        "geometry",
        "image_files",
        "cases",
        "training",
        "evaluation",
    },
    "environment": {"inference", "autoload"},
    "cli": {
        "modalities",
        "nnunet_folders",
        "cases",
        "checks",
        "preprocessing",
        "inference",
        "evaluation",
        "sharing",
        "datasets",
        "environment",
    },
    "trainers": {"modalities", "networks", "losses", "training"},  # a leaf: nobody imports it
    "planners": {
        "modalities",
        "raw_dataset",
        "incomplete_cases",
        "model_json",
        "appearance",
        "networks",
        "preprocessing",
    },  # a leaf, too
    "magms_nnunet": {"inference"},  # the package itself, for magms_nnunet.Predictor
    "autoload": set(),  # holds the leaves' names as strings
    "child_processes": set(),
    "cores": set(),
    "errors": set(),
    "freed_memory": set(),
    "files": set(),
    "foreign_json": set(),
    "new_folders": set(),
    "nnunet_version": set(),
    "output_lock": set(),
    "streams": set(),
    "signals": set(),
}
SHARED = {
    "child_processes",
    "cores",
    "errors",
    "files",
    "foreign_json",
    "freed_memory",
    "new_folders",
    "nnunet_version",
    "output_lock",
    "signals",
    "streams",
    "magms_nnunet",
}
STDLIB_ONLY = [
    *("__init__", "autoload", "errors", "files", "foreign_json", "new_folders", "output_lock", "signals", "streams")
]


def sources() -> dict[str, Path]:
    """Module name -> file."""
    files = {}
    for folder, package in (
        ("magms_nnunet", "magms_nnunet"),
        ("trainers", "magms_nnunet.trainers"),
        ("planners", "magms_nnunet.planners"),
    ):
        for file in (ROOT / folder).rglob("*.py"):
            inside = file.relative_to(ROOT / folder).with_suffix("").parts
            files[".".join([package, *(part for part in inside if part != "__init__")])] = file
    return files


def imports(module: str, file: Path, nodes=ast.walk) -> set[str]:
    """Full names of what ``module`` imports: everywhere, or among the ``nodes`` of its syntax tree."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for node in nodes(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package)
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def group(name: str) -> str:
    """magms_nnunet.losses.distillation.kl_softmax -> losses; magms_nnunet.__version__ -> magms_nnunet."""
    _, *inside = name.split(".")
    return inside[0] if inside and not inside[0].startswith("__") else "magms_nnunet"


@pytest.mark.parametrize(("module", "file"), sources().items(), ids=sources())
def test_imports_follow_the_data(module, file):
    ours = {name for name in imports(module, file) if name.partition(".")[0] == "magms_nnunet"}
    forbidden = {name for name in ours if group(name) not in ALLOWED[group(module)] | SHARED | {group(module)}}
    assert not forbidden, f"{module} must not import {sorted(forbidden)}"


def test_the_table_has_no_arrow_that_runs_back():
    reach = {name: set(allowed) for name, allowed in ALLOWED.items()}
    for via in reach:
        for name in reach:
            if via in reach[name]:
                reach[name] |= reach[via]
    assert [name for name in reach if name in reach[name]] == []
    assert not {"trainers", "planners"} & set().union(*ALLOWED.values())


@pytest.mark.parametrize("stem", STDLIB_ONLY)
def test_what_every_python_process_imports_needs_the_standard_library_only(stem):
    names = imports("magms_nnunet", ROOT / "magms_nnunet" / f"{stem}.py", nodes=ast.iter_child_nodes)
    tops = {
        name.partition(".")[0] for name in names if not name.startswith(("magms_nnunet.errors", "magms_nnunet.files"))
    }
    assert tops <= sys.stdlib_module_names


def test_commands_start_without_torch():
    modules = [f"magms_nnunet.{name}" for name in ("errors", "modalities", "cases", "files", "output_lock")]
    modules += [module.name for module in pkgutil.walk_packages(cli.__path__, "magms_nnunet.cli.")]
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    assert not {'torch', 'nnunetv2'} & set(sys.modules), name\n"
    )
    result = subprocess.run([sys.executable, "-c", code, *modules], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
