import bounds
import numpy as np
import pandas as pd
import pytest

from magms_nnunet.metrics.scores import write_scores
from magms_nnunet.storage.csv_files import write_csv


def evaluation(folder, seed, cases=60, shift=0.0):
    """Synthetic scores of two subsets and one region; the network is overconfident, from one modality more so."""
    rng, rows, estimates = np.random.default_rng(seed), [], []
    folder.mkdir()
    for subset, excess in (("T1", 0.3), ("T1+T2", 0.1)):
        for number in range(cases):
            dice = float(rng.beta(5, 2)) * (1 - shift)
            numbers = dict.fromkeys(("hd95_mm", "hd95_brats_mm", "reference_mm3", "predicted_mm3"), 1.0)
            keys = {"case": f"{seed}_{number}", "subset": subset, "region": "whole"}
            rows.append(keys | {"dice": dice, "presence": "both"} | numbers)
            estimates.append((*keys.values(), dice + shift + excess + float(rng.normal(0, 0.05))))
    write_scores(folder / "scores.csv", rows)
    write_csv(folder / "soft_dice.csv", (*bounds.KEYS, "soft_dice"), estimates)
    return folder


def test_bounds_hold_as_often_as_they_say_on_exchangeable_cases(tmp_path):
    folders = [evaluation(tmp_path / str(seed), seed) for seed in range(5)]
    table = bounds.measure(folders).set_index("modalities")
    assert table["bounds"].tolist() == [5 * 4 * 60] * 2
    assert table["cases"].tolist() == [300, 300]
    for share, cases in zip(table["share"], table["cases"], strict=True):
        low, high = bounds.interval(cases)
        assert low <= share <= high
    assert (table["bound"] < table["dice"]).all()


def test_halves_of_an_evaluation_hold_as_often_as_they_say(tmp_path):
    table = bounds.measure_halves([evaluation(tmp_path / "a", 0, cases=200)], repeats=20)
    assert table["bounds"].tolist() == [20 * 100] * 2
    assert ((table["share"] > 0.87) & (table["share"] < 0.93)).all()


def test_other_patients_are_noticed(tmp_path):
    folders = [evaluation(tmp_path / "a", 0), evaluation(tmp_path / "b", 1, shift=0.4)]
    one, other = map(bounds.read, folders)
    assert bounds.by_size(bounds.bounded(one, other))["share"].max() < 0.5


def test_too_few_cases_give_no_bound():
    rows = pd.DataFrame({"case": ["a"], "subset": ["T1"], "region": ["r"], "dice": [0.5], "soft_dice": [0.6]})
    assert bounds.bounded(rows, rows).empty
    assert bounds.interval(100) == pytest.approx((0.84, 0.95), abs=0.01)
