"""What the shell brings along."""

import os
import subprocess

import pytest

from tests.faults.tiny import T1C, give
from tests.integration.workspace import BIN, ENDING


@pytest.mark.fault(24)
@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("nnUNet_def_n_proc", "x"), ("nnUNet_def_n_proc", "0"), ("nnUNet_n_proc_DA", "-1")),
        *(("nnUNet_npp", "two"), ("nnUNet_nps", "1.5"), ("OMP_NUM_THREADS", "abc"), ("OMP_NUM_THREADS", "4,x")),
    ],
)
def test_variable_that_is_no_number_is_named(name, text, magms_predict, tmp_path, monkeypatch):
    images = give(tmp_path / "images", {"a": [T1C]})
    monkeypatch.setenv(name, text)
    code, (line,) = magms_predict(images, tmp_path / "out")
    assert code == 2
    assert line.startswith(f"magms_predict: error: the variable {name} must be a whole number from ")
    assert repr(text) in line
    assert not (tmp_path / "out").exists()


@pytest.mark.fault(24)
@pytest.mark.parametrize(("name", "text"), [("OMP_NUM_THREADS", "4,2"), ("nnUNet_n_proc_DA", "0"), ("nnUNet_npp", "")])
def test_variable_that_is_right_passes(name, text, magms_predict, tmp_path, monkeypatch):
    monkeypatch.setenv(name, text)
    code, (line,) = magms_predict(tmp_path / "nothing", tmp_path / "out")
    assert code == 2
    assert "does not exist" in line


@pytest.mark.fault(26)
def test_names_in_utf8_are_valid_whatever_the_locale(model, tmp_path):
    """Python reads them as ASCII here, and SimpleITK takes no name that is not UTF-8."""
    images, out = give(tmp_path / "Bilder für Ärzte", {"Größe": [T1C]}), tmp_path / "Ausgänge"
    flags = ("-m", model, "-f", 0, "--disable_tta", "-device", "cpu")
    command = (BIN / "magms_predict", "-i", images, "-o", out, *flags)
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "OMP_NUM_THREADS": "1"}
    result = subprocess.run([*map(str, command)], env=os.environ | ascii_only, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr.decode()
    assert (out / f"Größe{ENDING}").is_file()
