"""Every imported package is declared in pyproject.toml, and every declared package is imported."""

import re
import sys
from importlib.metadata import distributions, packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from magms_nnunet import __version__
from tests.test_architecture import ROOT, imports, sources

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest needs it there

EXTRAS = {"monai", "pydicom", "highdicom", "fastapi", "pydantic", "python-multipart", "starlette", "uvicorn"}


def project() -> dict:
    """Return the metadata of the package."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def required() -> dict[str, Requirement]:
    """Return the package's dependencies by name."""
    requirements = map(Requirement, project()["dependencies"])
    return {requirement.name.lower(): requirement for requirement in requirements}


def imported() -> set[str]:
    """Names of the distributions that hold what our modules import."""
    tops = {name.partition(".")[0] for module, file in sources().items() for name in imports(module, file)}
    known = packages_distributions()
    names = {name for top in tops - {"magms_nnunet", *sys.stdlib_module_names} for name in known.get(top, [])}
    return {re.sub("[_.]", "-", name).lower() for name in names}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 knows few of the modules that a package installs")
def test_requirements_are_the_imports():
    assert imported() - EXTRAS == required().keys()


def test_nnunet_of_an_untested_minor_version_can_be_installed():
    assert required()["nnunetv2"].specifier.contains("2.9.0")
    assert not required()["nnunetv2"].specifier.contains("3.0.0")


def test_each_pin_without_a_marker_can_be_installed_on_the_oldest_python():
    """As far as its distribution is installed here, and in that version."""
    oldest = project()["requires-python"].removeprefix(">=")
    needs = {f"{canonicalize_name(d.name)}=={d.version}": d.metadata.get("Requires-Python") for d in distributions()}
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert {pin: needs[pin] for pin in pins if needs.get(pin) and not SpecifierSet(needs[pin]).contains(oldest)} == {}


def test_the_citation_is_of_this_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [__version__]
