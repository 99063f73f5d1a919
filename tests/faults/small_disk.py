"""A disk of few kilobytes, or one that takes nothing."""

import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def mount(tmp_path):
    """mount(kilobytes, *options): an empty tmpfs of that size; skips where the system does not allow it."""
    mounted = []

    def mount(kilobytes: int, options: str = "rw") -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k,{options}", "none", str(folder)]
        try:
            result = subprocess.run(command, capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip("there is no mount command here")
        if result.returncode:
            pytest.skip(f"mounting is not possible here: {result.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # the test that failed may hold a file


def fill(folder: Path, leave_bytes: int = 0) -> Path:
    """Fill the disk up with one file."""
    path = folder / "full"
    with open(path, "wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)) == 4096:
                pass
        except OSError:
            pass
    if leave_bytes:
        with open(path, "rb+") as file:
            file.truncate(path.stat().st_size - leave_bytes)
    return path
