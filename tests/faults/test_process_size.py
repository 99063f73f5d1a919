"""Many cases, and a large one: memory stays bounded, and something can be seen at once."""

import os
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.faults.commands import start, wait_for
from tests.faults.tiny import T1C, give
from tests.integration.workspace import ENDING, write_image

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc"),
]

CASES = 10_000
LARGE = (700, 512, 512)  # z, y, x
LARGE_MIB = 7 * 700  # the most that a prediction from one modality may take: 7 volumes of float32


def peak_so_far_mib(pid: int) -> float:
    """The most memory that a process has had at a time."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def cpu_seconds(pid: int) -> float:
    """What it has computed so far: the wall clock would also measure what else runs here."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.fault(28)
def test_ten_thousand_cases(model, tmp_path):
    image = give(tmp_path / "one", {"a": [T1C]}) / f"a_0002{ENDING}"
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    for number in range(CASES):
        (images / f"case{number:05d}_0002{ENDING}").hardlink_to(image)
    flags = ("-m", model, "-f", 0, "-device", "cpu", "-npp", 0, "-nps", 0, "--disable_tta")
    with start("magms_predict", "-i", images, "-o", out, *flags) as command:
        assert command.stderr.readline() == "magms_predict: starting\n"
        first_seconds = cpu_seconds(command.pid)
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.extend(command.stderr))  # a full pipe would hold the command up
        reader.start()
        wait_for((out / f"case00000{ENDING}").exists, 1200)
        first_mib = peak_so_far_mib(command.pid)
        wait_for((out / f"case00200{ENDING}").exists, 1200)
        later_mib = peak_so_far_mib(command.pid)
        os.kill(command.pid, signal.SIGTERM)
        reader.join()
    assert any("checking files" in line for line in said)
    print(f"{CASES} cases: first line after {first_seconds:.2f} CPU s, {first_mib:.0f}, 200 later {later_mib:.0f} MiB")
    assert first_seconds < 1
    assert later_mib < first_mib + 100


@pytest.mark.fault(28)
def test_case_of_512x512x700(model, tmp_path):
    block = np.random.default_rng(0).normal(100, 20, (50, 64, 64)).astype(np.int16)
    spacing_mm = (0.5, 0.5, 0.5)  # the model resamples it to 1 mm
    images, times = tmp_path / "images", [n // m for n, m in zip(LARGE, block.shape, strict=True)]
    write_image(images / f"a_0002{ENDING}", np.tile(block, times), spacing_mm)
    flags = ("-m", model, "-f", 0, "-device", "cpu", "--disable_tta", "-step_size", 1, "--disable_progress_bar")
    with start("magms_predict", "-i", images, "-o", tmp_path / "out", *flags) as command:
        said = command.stderr.read()
        _, status, used = os.wait4(command.pid, 0)
        command.returncode = os.waitstatus_to_exitcode(status)
    peak_mib = used.ru_maxrss / 1024
    print(f"512x512x700: {peak_mib:.0f} MiB")
    assert command.returncode == 0, said
    assert peak_mib < LARGE_MIB
