import subprocess
import sys
from pathlib import Path

import pytest

from magms_nnunet.environment import machine
from magms_nnunet.environment.finding import OK, WARN

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("found", "status"), [("2.8.1", OK), ("2.8.7", OK), ("2.9", WARN), ("2.80.1", WARN), ("3", WARN)]
)
def test_versions_of_nnunet(found, status, monkeypatch):
    monkeypatch.setattr(machine, "version", {"nnunetv2": found}.get)
    finding = machine.check_nnunet()
    assert finding.status == status
    assert found in finding.message
    assert status == OK or "pip install nnunetv2==" in finding.remedy


def test_no_nnunet_at_all(tmp_path):
    """In a Python that sees this package and nothing else."""
    code = "from magms_nnunet.environment.machine import check_nnunet as c; print(c())"
    answer = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.startswith("FAIL  nnU-Net: nnunetv2 is not installed: pip install")


def test_the_tested_version_is_the_one_of_the_constraints():
    assert f"nnunetv2=={machine.TESTED_NNUNET}\n" in (ROOT / "constraints.txt").read_text()


def test_monai_is_optional(monkeypatch):
    assert machine.check_unetr().message == "MONAI is installed"
    monkeypatch.setattr(machine, "find_spec", {}.get)
    assert machine.check_unetr().status == OK
    assert "magms_nnunet[unetr]" in machine.check_unetr().message


def hook(*flags, **variables) -> str:
    code = "from magms_nnunet.environment.machine import check_hook as c; print(c())"
    command = [sys.executable, *flags, "-c", code]
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=True).stdout


def test_the_hook_is_active_switched_off_or_not_read():
    assert hook().startswith("OK    start-up hook: ")
    assert hook(MAGMS_AUTOLOAD="0").startswith("WARN  start-up hook: switched off by MAGMS_AUTOLOAD=0")
    assert hook("-S").startswith("WARN  start-up hook: zz_magms_nnunet.pth was not read")  # as with PYTHONPATH
