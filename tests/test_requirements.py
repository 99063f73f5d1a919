"""What is imported is declared in setup.py, and what is declared is imported."""

import ast
import re
import sys
from importlib.metadata import packages_distributions

from packaging.requirements import Requirement

from tests.test_architecture import ROOT, imports, sources

NOT_IMPORTED = {"batchgenerators"}  # see the comment in setup.py
EXTRAS = {"monai"}


def required() -> dict[str, Requirement]:
    """Of install_requires, by name."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    (listed,) = (node.value for node in ast.walk(tree) if getattr(node, "arg", None) == "install_requires")
    requirements = map(Requirement, ast.literal_eval(listed))
    return {requirement.name.lower(): requirement for requirement in requirements}


def imported() -> set[str]:
    """Names of the distributions that hold what our modules import."""
    tops = {name.partition(".")[0] for module, file in sources().items() for name in imports(module, file)}
    known = packages_distributions()
    names = {name for top in tops - {"magms_nnunet", *sys.stdlib_module_names} for name in known.get(top, [])}
    return {re.sub("[_.]", "-", name).lower() for name in names}


def test_requirements_are_the_imports():
    assert imported() - EXTRAS == required().keys() - NOT_IMPORTED


def test_nnunet_of_an_untested_minor_version_can_be_installed():
    assert required()["nnunetv2"].specifier.contains("2.9.0")
    assert not required()["nnunetv2"].specifier.contains("3.0.0")
