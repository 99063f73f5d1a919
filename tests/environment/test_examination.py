"""The whole examination, in the processes that a user's is made of."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from magms_nnunet.cli import doctor
from magms_nnunet.environment.examination import check_with_torch
from magms_nnunet.environment.finding import FAIL, OK, WARN
from magms_nnunet.environment.machine import NEEDED_FOR

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folders(tmp_path, monkeypatch):
    for variable in NEEDED_FOR:
        monkeypatch.setenv(variable, str(tmp_path))
    return tmp_path


def test_a_working_environment(folders, tmp_path_factory, monkeypatch, capfd):
    """What libraries print on stdout is no finding: oneDNN from C, as torch convolves; and at the start of Python."""
    noise = tmp_path_factory.mktemp("noise")
    (noise / "sitecustomize.py").write_text("print('hello'), print('7'), print('{}')")
    monkeypatch.setenv("PYTHONPATH", f"{noise}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("ONEDNN_VERBOSE", "1")
    assert doctor.main(["--json"]) == 0
    answer = json.loads(capfd.readouterr().out)
    assert answer["ok"]
    status = {finding["subject"]: finding["status"] for finding in answer["findings"]}
    assert FAIL not in status.values()
    for subject in (
        "Python",
        "nnU-Net",
        "start-up hook",
        "torch",
        "trainers",
        "planners",
        "normalisations",
        "self-test",
    ):
        assert status[subject] == OK, answer
    assert status["other trainers"] in (OK, WARN)  # the latter where torchvision does not fit torch
    assert list(folders.iterdir()) == []  # the self-test works elsewhere


def test_each_line_comes_when_it_is_known_and_the_first_ones_without_torch(folders, monkeypatch):
    """torch waits here until the lines above it have been read."""
    seen = folders / "seen"
    code = f"import os, time\nwhile not os.path.exists({str(seen)!r}):\n    time.sleep(0.01)\nraise OSError('waited')"
    for variable, value in broken_torch(folders, code).items():
        monkeypatch.setenv(variable, value)
    command = [sys.executable, "-m", "magms_nnunet.cli.doctor"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        first = process.stdout.readline()
        above = [process.stdout.readline() for _ in NEEDED_FOR]
        seen.touch()
        rest = process.stdout.read()
    assert first.startswith("OK    Python: magms_nnunet ")
    assert all(above)
    assert "OSError: waited" in rest  # and not that it took too long


def test_a_failure_is_exit_code_2_and_says_what_to_do(folders, monkeypatch, capfd):
    monkeypatch.setenv("nnUNet_results", str(folders / "none"))
    monkeypatch.setenv("MAGMS_AUTOLOAD", "0")  # the classes cannot be found, and torch is fine
    assert doctor.main([]) == 2
    lines = capfd.readouterr().out.splitlines()
    none = folders / "none"
    assert f"FAIL  nnUNet_results: {none} does not exist: mkdir -p {none}, or correct the variable" in lines
    assert any(line.startswith("WARN  start-up hook: switched off") for line in lines)
    assert any(line.startswith("FAIL  trainers: nnU-Net does not find AnySubsetTrainer, ") for line in lines)
    assert any(line.startswith("FAIL  planners: nnU-Net does not find MAGMSPlanner, ") for line in lines)
    assert any(line.startswith("OK    self-test: ") for line in lines)  # our own commands still work
    failures = sum(line.startswith("FAIL") for line in lines)
    assert failures >= 4  # and where torchvision does not fit torch, nnU-Net's other trainers
    assert lines[-1].startswith(f"{failures} failures, ")


def broken_torch(folder: Path, code: str) -> dict[str, str]:
    """A torch that does ``code`` when it is imported, before the real one on the path."""
    (folder / "torch.py").write_text(code)
    return {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}


@pytest.mark.parametrize(
    ("code", "limit_s", "says"),
    [
        ("raise OSError('libcudart.so.12: cannot open')", 300, "OSError: libcudart.so.12: cannot open"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", 300, "checks that use torch were ended by SIGILL"),
        ("import time; time.sleep(60)", 1, "the checks that use torch took too long after its start"),
        (
            "import sys; sys.exit('no licence')",
            300,
            "the checks that use torch ended with exit code 1 after its start (no licence)",
        ),
    ],
)
def test_a_torch_that_cannot_be_imported_is_a_line_as_well(code, limit_s, says, folders, monkeypatch):
    for variable, value in broken_torch(folders, code).items():
        monkeypatch.setenv(variable, value)
    (finding,) = check_with_torch(limit_s)
    assert (finding.status, finding.subject) == (FAIL, "torch")
    assert says in finding.message
    assert finding.remedy


def test_a_broken_dependency_of_nnunet_is_named_for_all_that_need_it(folders, monkeypatch):
    (folders / "dynamic_network_architectures.py").write_text("raise ImportError('broken')")
    monkeypatch.setenv("PYTHONPATH", f"{folders}{os.pathsep}{ROOT}")
    findings = {finding.subject: finding for finding in check_with_torch(limit_s=300)}
    assert findings["torch"].status == findings["normalisations"].status == OK
    for subject in ("trainers", "planners"):
        assert findings[subject].status == FAIL
        assert findings[subject].message.endswith("(ImportError: broken)")
    assert findings["self-test"].status == FAIL
    assert findings["self-test"].message.endswith(": ImportError: broken")
