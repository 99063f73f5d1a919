import sys
from pathlib import Path

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from accuracy_tables import additions, differences, means, read


@pytest.fixture
def folder(tmp_path):
    """Two systems, three cases of two patients, a region that one case lacks."""
    for system, gain in (("ours", 0.1), ("the_rival", 0.0)):
        rows = []
        for case, dice in (("p1_a", 0.2), ("p1_b", 0.4), ("p2", 0.5)):
            for subset, more in (("F", 0.0), ("T1", 0.1), ("F+T1", 0.05)):
                rows.append([case, subset, "core", dice + more + gain, 10.0])
        rows.append(["p2", "F", "edema", 1.0, 0.0])  # no reference: does not count
        out = tmp_path / f"repeat_0/evaluations/{system}_fold0"
        out.mkdir(parents=True)
        columns = ["case", "subset", "region", "dice", "reference_mm3"]
        pd.DataFrame(rows, columns=columns).to_csv(out / "scores.csv", index=False)
    return tmp_path


SYSTEMS = ["ours", "the rival"]


def table(text: str) -> dict[str, list[str]]:
    return {cells[0]: cells[1:] for line in text.splitlines() if (cells := [c.strip() for c in line.split("|")[1:-1]])}


def test_each_patient_counts_once(folder):
    scores = read(folder, SYSTEMS, {"p1_a": "p1", "p1_b": "p1"})
    rows = table(means(scores, SYSTEMS))
    assert rows["patients"] == ["2", "2"]
    # patient 1: (0.2 + 0.4) / 2, patient 2: 0.5, with 0 and 0.1 more for F and T1
    assert rows["incomplete"] == ["0.5500", "0.4500"]
    assert rows["all"] == ["0.5500", "0.4500"]
    assert rows["F"] == ["0.5000", "0.4000"]
    assert rows["core, incomplete"] == ["0.5500", "0.4500"]


def test_differences_are_paired_by_patient(folder):
    scores = read(folder, SYSTEMS, {"p1_a": "p1", "p1_b": "p1"})
    line = next(line for line in differences(scores, SYSTEMS).splitlines() if "incomplete | 2" in line)
    assert "+0.1000 [+0.1000, +0.1000] | 100%" in line


def test_additions_that_lower_the_dice_are_counted(folder):
    rows = table(additions(read(folder, SYSTEMS, {}), SYSTEMS))
    # F to F+T1 gains 0.05 in each case, T1 to F+T1 loses 0.05
    assert rows["Dice of the case falls by more than 0.01"] == ["50.0%", "50.0%"]
    assert rows["mean over patients falls"] == ["1 of 2", "1 of 2"]
