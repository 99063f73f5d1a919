"""nnU-Net's look-up of trainers that are not ours, with a torchvision that does not fit torch."""

import subprocess
import sys

import pytest

EXTERNAL = """
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class TheirTrainer(nnUNetTrainer):
    pass
"""
FIND = "from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find\n"
DOCTOR = "from magms_nnunet.environment.with_torch import check_look_up\nprint(check_look_up()[-1])\n"


@pytest.fixture
def python(tmp_path):
    """python(code, **variables) -> a process in which torchvision cannot be imported."""
    stubs, external = tmp_path / "stubs", tmp_path / "external"
    for folder in (stubs, external):
        folder.mkdir()
    (stubs / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    (external / "their_trainer.py").write_text(EXTERNAL)

    def run(code: str, **variables: str) -> subprocess.CompletedProcess:
        environment = {"PYTHONPATH": str(stubs), "nnUNet_extTrainer": str(external), **variables}
        return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)

    return run


@pytest.mark.fault(24)
def test_torchvision_that_does_not_fit_hides_no_trainer(python):
    code = FIND + "for name in ('nnUNetTrainer_5epochs', 'TheirTrainer'): print('found', find(name).__name__)\n"
    ended = python(code + DOCTOR + "find('nnUNet_Primus_M_Trainer')")
    assert [line for line in ended.stdout.splitlines() if line.startswith("found")] == [
        "found nnUNetTrainer_5epochs",
        "found TheirTrainer",
    ]
    (warning,) = (line for line in ended.stderr.splitlines() if "RuntimeWarning" in line)
    module = "nnunetv2.training.nnUNetTrainer.primus.primus_trainers"
    assert f"nnU-Net's trainers in {module} cannot be used (RuntimeError: operator torchvision::nms" in warning
    (line,) = (line for line in ended.stdout.splitlines() if "other trainers" in line)
    assert line.startswith("WARN  other trainers: nnU-Net finds its own and those of nnUNet_extTrainer; its Primus ")
    assert " torch 2" in line
    assert " torchvision 0" in line
    assert line.endswith("pip install --force-reinstall torch torchvision")
    assert "RuntimeError: Could not find requested nnunet trainer nnUNet_Primus_M_Trainer" in ended.stderr


@pytest.mark.fault(24)
def test_doctor_says_so_where_the_search_ends(python):
    ended = python(DOCTOR, MAGMS_AUTOLOAD="0")
    line = ended.stdout.splitlines()[-1]
    assert line.startswith("FAIL  other trainers: nnU-Net finds neither its own nor those of nnUNet_extTrainer (")
    assert "operator torchvision::nms does not exist" in line
    assert line.endswith("pip install --force-reinstall torch torchvision")


@pytest.mark.fault(24)
def test_nnunets_trainer_itself_fails_as_without_us(python, tmp_path):
    """Only what nnU-Net can do without is stepped over."""
    (tmp_path / "stubs/batchgeneratorsv2.py").write_text("raise RuntimeError('broken')\n")
    ended = python("import nnunetv2.training.nnUNetTrainer.nnUNetTrainer")
    assert ended.stderr.splitlines()[-1] == "RuntimeError: broken"
