"""The demo as a user runs it: about 4 minutes on two CPU cores."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

COMMAND = Path(sys.executable).parent / "magms_demo"


def demo(*flags) -> subprocess.CompletedProcess:
    return subprocess.run([COMMAND, *flags], capture_output=True, text=True)


def mean_dice(cases: dict) -> float:
    return float(np.mean([list(case.values()) for case in cases.values()]))


@pytest.mark.slow
def test_one_model_segments_from_what_there_is_and_a_second_run_finds_it_done(tmp_path):
    out = tmp_path / "demo"
    first = demo("-o", out)
    assert first.returncode == 0, first.stdout + first.stderr
    means = {label: mean_dice(cases) for label, cases in json.loads((out / "dice.json").read_text()).items()}
    assert means["T1c+F"] > 0.6
    assert means["T1c+F"] > means["T1c"] + 0.1
    assert means["all four"] > 0.6
    assert means["T1c"] > means["blind guess"] + 0.1
    assert (out / "overlay.png").stat().st_size > 10_000
    given = {path.name[-11:] for path in (out / "given/T1c+F").iterdir()}
    assert given == {"0000.nii.gz", "0002.nii.gz"}
    model = next((out / "nnUNet_results").rglob("checkpoint_final.pth"))
    trained = model.stat().st_mtime_ns

    second = demo("-o", out)
    assert second.returncode == 0, second.stdout + second.stderr
    assert model.stat().st_mtime_ns == trained
    assert table(first.stdout) == table(second.stdout)

    other = demo("-o", out, "--seed", "1")
    assert other.returncode == 2
    assert other.stderr.count("\n") == 1


def table(text: str) -> str:
    start = text.index("Dice, mean over")
    return text[start : text.index("\n\n", start)]
