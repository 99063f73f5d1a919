"""Every imported package is declared in pyproject.toml, and every declared package is imported."""

import re
import sys
from importlib.metadata import packages_distributions

from packaging.requirements import Requirement

from magms_nnunet import __version__
from tests.test_architecture import ROOT, imports, sources

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest needs it there

EXTRAS = {"monai", "pydicom", "highdicom", "fastapi", "pydantic", "python-multipart", "starlette", "uvicorn"}


def required() -> dict[str, Requirement]:
    """Return the package's dependencies by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = map(Requirement, project["dependencies"])
    return {requirement.name.lower(): requirement for requirement in requirements}


def imported() -> set[str]:
    """Names of the distributions that hold what our modules import."""
    tops = {name.partition(".")[0] for module, file in sources().items() for name in imports(module, file)}
    known = packages_distributions()
    names = {name for top in tops - {"magms_nnunet", *sys.stdlib_module_names} for name in known.get(top, [])}
    return {re.sub("[_.]", "-", name).lower() for name in names}


def test_requirements_are_the_imports():
    assert imported() - EXTRAS == required().keys()


def test_nnunet_of_an_untested_minor_version_can_be_installed():
    assert required()["nnunetv2"].specifier.contains("2.9.0")
    assert not required()["nnunetv2"].specifier.contains("3.0.0")


def test_the_citation_is_of_this_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [__version__]
