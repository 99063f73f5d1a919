import subprocess
import tempfile

import pytest

from magms_nnunet.environment import machine
from magms_nnunet.environment.finding import FAIL, OK, WARN
from magms_nnunet.environment.machine import NEEDED_FOR, check_folder, check_shared_memory, check_temporary_folder

RAW = "nnUNet_raw"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte, to be mounted as read-only or not."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o"]

    def mount(options):
        if subprocess.run([*command, options, "none", str(folder)], capture_output=True).returncode:
            pytest.skip("file systems cannot be mounted here")
        return folder

    yield mount
    subprocess.run(["umount", str(folder)], capture_output=True)


@pytest.mark.parametrize("variable", NEEDED_FOR)
def test_a_variable_that_is_not_set(variable, monkeypatch):
    monkeypatch.delenv(variable, raising=False)
    finding = check_folder(variable)
    assert (finding.status, finding.subject) == (WARN, variable)
    assert finding.remedy == f"export {variable}=FOLDER"


def test_a_folder_that_does_not_exist(monkeypatch, tmp_path):
    monkeypatch.setenv(RAW, str(tmp_path / "none"))
    finding = check_folder(RAW)
    assert (finding.status, finding.message) == (FAIL, f"{tmp_path / 'none'} does not exist")
    assert f"mkdir -p {tmp_path / 'none'}" in finding.remedy


def test_a_file_is_no_folder(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv(RAW, str(tmp_path / "file"))
    assert (check_folder(RAW).status, check_folder(RAW).message) == (FAIL, f"{tmp_path / 'file'} is not a folder")


def test_a_folder_that_cannot_be_written_to(monkeypatch, small_disk):
    folder = small_disk("ro,size=1m")
    monkeypatch.setenv(RAW, str(folder))
    finding = check_folder(RAW)
    assert finding.status == WARN
    assert finding.message == f"{folder} cannot be written to (Read-only file system)"


def test_little_space(monkeypatch, small_disk):
    folder = small_disk("size=1m")
    monkeypatch.setenv(RAW, str(folder))
    assert (check_folder(RAW).status, check_folder(RAW).message) == (WARN, f"{folder}, only 0.0 GB free")
    shared = check_shared_memory(folder)
    assert shared.status == WARN
    assert "--shm-size" in shared.remedy


def test_enough_space(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "LITTLE_SPACE_GB", 0)
    monkeypatch.setattr(machine, "LITTLE_SHARED_MEMORY_GB", 0)
    monkeypatch.setenv(RAW, str(tmp_path))
    assert check_folder(RAW).status == OK
    assert list(tmp_path.iterdir()) == []
    assert check_shared_memory(tmp_path).status == OK


def test_a_system_without_a_folder_of_shared_memory(tmp_path):
    assert check_shared_memory(tmp_path / "shm").status == OK


def test_no_temporary_folder(monkeypatch):
    def none():
        raise FileNotFoundError("No usable temporary directory found in ['/tmp']")

    assert check_temporary_folder().subject == "temporary folder"
    monkeypatch.setattr(tempfile, "gettempdir", none)
    assert check_temporary_folder().status == FAIL
