"""Imports flow one way, and what must start fast does not import torch."""

import ast
import graphlib
import pkgutil
import subprocess
import sys
from importlib.util import resolve_name
from pathlib import Path

import pytest

from magms_nnunet import cli

ROOT = Path(__file__).parents[1]

# room -> the rooms that it may import, besides itself and SHARED. A room lies below all that it may import.
ALLOWED = {
    "modalities": set(),
    "cpu": set(),
    "nnunet": set(),
    "images": {"modalities"},
    "networks": {"modalities", "cpu"},
    "losses": {"networks"},
    "metrics": {"modalities"},
    "report": {"modalities", "metrics"},
    "trust": {"modalities", "metrics"},
    "dicom": {"modalities", "metrics"},
    "model": {"modalities", "nnunet", "networks", "autoload"},
    "preprocessing": {"modalities", "images", "nnunet", "autoload"},
    "training": {"autoload", "modalities", "cpu", "nnunet", "images", "networks", "model", "preprocessing"},
    "inference": {
        *("modalities", "cpu", "nnunet", "images", "metrics", "report", "trust", "dicom"),
        *("networks", "model", "preprocessing"),
    },
    "evaluation": {
        *("modalities", "nnunet", "images", "metrics", "report", "trust", "model", "preprocessing", "inference")
    },
    "comparison": {"modalities", "metrics", "report", "evaluation"},
    "datasets": {"modalities", "nnunet", "images"},
    "demo": {"modalities", "images", "metrics", "report", "training"},
    "environment": {"nnunet", "inference", "autoload"},
    "serve": {"modalities", "images", "dicom", "model", "inference", "report"},
    "cli": {
        *("nnunet", "images", "trust", "dicom", "training", "model", "inference", "evaluation", "comparison"),
        *("datasets", "demo", "environment", "serve"),
    },
    "train": {"cli"},  # what torchrun is told to run
    "trainers": {"networks", "losses", "training"},  # a leaf: nobody imports it
    "planners": {"modalities", "nnunet", "images", "networks", "model", "preprocessing"},  # a leaf, too
    "magms_nnunet": set(),  # the package itself, which holds the names of its interface as strings
    "autoload": set(),  # holds the names of what it finds as strings
    "errors": set(),
    "storage": set(),
    "runtime": set(),
}
SHARED = {"errors", "storage", "runtime", "magms_nnunet"}
LOOSE = {"__init__", "autoload", "errors", "modalities", "train"}
STDLIB_ONLY = [
    *("__init__", "autoload", "errors", "runtime/signals", "runtime/streams"),
    *("storage/files", "storage/json_files", "storage/new_folders", "storage/output_lock"),
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


def test_no_modules_import_each_other():
    """Also through imports within functions, and those for the type checker."""
    modules = sources()
    graph = {
        module: {name for found in imports(module, file) for name in (found, found.rpartition(".")[0])}
        & modules.keys() - {module}
        for module, file in modules.items()
    }
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the modules


def test_no_other_module_lies_outside_a_room():
    assert {file.stem for file in (ROOT / "magms_nnunet").glob("*.py")} == LOOSE


@pytest.mark.parametrize("stem", STDLIB_ONLY)
def test_what_every_python_process_imports_needs_the_standard_library_only(stem):
    names = imports(
        "magms_nnunet." + stem.replace("/", "."), ROOT / "magms_nnunet" / f"{stem}.py", nodes=ast.iter_child_nodes
    )
    ours = ("magms_nnunet.errors", "magms_nnunet.storage.files")
    tops = {name.partition(".")[0] for name in names if not name.startswith(ours)}
    assert tops <= sys.stdlib_module_names


@pytest.mark.process
def test_commands_start_without_torch():
    names = ("errors", "modalities", "images.cases", "storage.output_lock", "serve.client", "serve.server")
    modules = [f"magms_nnunet.{name}" for name in names]
    modules += [module.name for module in pkgutil.walk_packages(cli.__path__, "magms_nnunet.cli.")]
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    assert not {'torch', 'nnunetv2'} & set(sys.modules), name\n"
    )
    result = subprocess.run([sys.executable, "-c", code, *modules], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
