"""The names that users import from magms_nnunet itself."""

import subprocess
import sys

import pytest

import magms_nnunet


@pytest.mark.parametrize("name", [name for name in magms_nnunet.__all__ if name != "__version__"])
def test_a_name_is_that_of_its_module(name):
    found = getattr(magms_nnunet, name)
    assert (found.__name__, found.__module__) == (name, magms_nnunet._HOMES[name])
    assert name in dir(magms_nnunet)


def test_other_names_are_an_error():
    with pytest.raises(AttributeError, match="no attribute 'Predictors'"):
        magms_nnunet.Predictors  # noqa: B018


@pytest.mark.process
def test_the_package_itself_imports_nothing():
    code = "import sys; before = set(sys.modules); import magms_nnunet; print(*set(sys.modules) - before)"
    command = [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["magms_nnunet"]
