import csv
import json

import numpy as np
import pandas as pd
import pytest

from magms_nnunet.errors import InputError
from magms_nnunet.metrics.hausdorff import hd95
from magms_nnunet.metrics.scores import (
    COLUMNS,
    Reference,
    case_means,
    read_scores,
    score_case,
    spread,
    summarise,
    write_scores,
)

REGIONS = {"whole": (1, 2), "core": (2,)}


def row(case, subset, region, dice, hd95_mm=1.0, presence="both", hd95_brats_mm=None):
    return {
        "case": case,
        "subset": subset,
        "region": region,
        "dice": dice,
        "hd95_mm": hd95_mm,
        "hd95_brats_mm": hd95_mm if hd95_brats_mm is None else hd95_brats_mm,
        "reference_mm3": 8.0,
        "predicted_mm3": 8.0,
        "presence": presence,
    }


def table(*rows):
    return pd.DataFrame(rows, columns=list(COLUMNS))


def test_by_hand():
    reference, prediction = np.zeros((4, 5), np.uint8), np.zeros((4, 5), np.uint8)
    reference[1, 1:3] = 1
    reference[1, 3] = 2
    prediction[1, 1:4] = 1
    whole, core = score_case("a", "T1", reference, prediction, REGIONS, (3, 2))
    assert whole == {
        **{"case": "a", "subset": "T1", "region": "whole", "dice": 1.0, "hd95_mm": 0.0, "hd95_brats_mm": 0.0},
        **{"reference_mm3": 18.0, "predicted_mm3": 18.0, "presence": "both"},
    }
    assert core == {
        **{"case": "a", "subset": "T1", "region": "core", "dice": 0.0, "hd95_mm": pytest.approx(244**0.5)},
        **{"hd95_brats_mm": 374.0, "reference_mm3": 6.0, "predicted_mm3": 0.0, "presence": "reference"},
    }


@pytest.mark.parametrize(
    ("reference", "prediction", "presence", "dice", "hd95_mm", "brats_mm"),
    [
        (0, 0, "none", 1, 0, 0),
        (1, 0, "reference", 0, 48**0.5, 374),
        (0, 1, "prediction", 0, 48**0.5, 374),
        (1, 1, "both", 1, 0, 0),
    ],
)
def test_empty_masks(reference, prediction, presence, dice, hd95_mm, brats_mm):
    (found,) = score_case("a", "T1", *(np.full((2, 2, 2), x) for x in (reference, prediction)), {"x": (1,)}, (2, 2, 2))
    assert (found["presence"], found["dice"], found["hd95_brats_mm"]) == (presence, dice, brats_mm)
    assert found["hd95_mm"] == pytest.approx(hd95_mm)


def test_the_crop_changes_nothing():
    rng = np.random.default_rng(0)
    reference, prediction = np.zeros((2, 14, 12, 16), np.int16)
    reference[2:9, 1:8, 3:9] = rng.integers(0, 3, (7, 7, 6))
    prediction[5:14, 4:12, 0:7] = rng.integers(0, 3, (9, 8, 7))
    spacing_mm = (2.5, 1, 0.8)
    for found, values in zip(
        score_case("a", "T1", reference, prediction, REGIONS, spacing_mm), REGIONS.values(), strict=True
    ):
        masks = [np.isin(labels, values) for labels in (reference, prediction)]
        assert found["hd95_mm"] == pytest.approx(hd95(*masks, spacing_mm))
        assert found["dice"] == pytest.approx(2 * (masks[0] & masks[1]).sum() / (masks[0].sum() + masks[1].sum()))
        assert found["predicted_mm3"] == pytest.approx(masks[1].sum() * 2.0)


def test_what_the_reference_ignores_cannot_matter():
    rng = np.random.default_rng(1)
    reference, prediction = rng.integers(0, 3, (2, 8, 8))
    reference[:, 5:] = 9
    ours = Reference(reference, REGIONS, (1, 1), ignore_label=9)
    other = prediction.copy()
    other[:, 5:] = rng.integers(0, 3, (8, 3))
    assert ours.score("a", "T1", prediction) == ours.score("a", "T1", other)
    without = score_case("a", "T1", reference[:, :5], prediction[:, :5], REGIONS, (1, 1))
    assert ours.score("a", "T1", prediction) == without


def test_one_reference_serves_many_predictions():
    reference, first, second = np.random.default_rng(2).integers(0, 3, (3, 6, 6, 6))
    shared = Reference(reference, REGIONS, (1, 2, 3))
    for labels in (first, second, np.zeros_like(first), reference):
        assert shared.score("a", "T1", labels) == score_case("a", "T1", reference, labels, REGIONS, (1, 2, 3))


def test_what_does_not_fit_is_an_error():
    labels = np.ones((2, 2), int)
    with pytest.raises(ValueError, match=r"a: reference \(2, 2\) and prediction \(2, 3\)"):
        score_case("a", "T1", labels, np.ones((2, 3), int), REGIONS, (1, 1))
    with pytest.raises(ValueError, match="all has label 0"):
        Reference(labels, {"all": (0, 1)}, (1, 1))
    with pytest.raises(ValueError, match="2 numbers above 0"):
        Reference(labels, REGIONS, (1, 1, 1))


def test_written_and_read_again(tmp_path):
    rows = [
        row("NA", "T1+T2", "a, b", 1 / 3, 374**0.5),
        row('007 "<x>"', "T1+T2", "a, b", 0.1 + 0.2, 0.0, "none"),
    ]
    write_scores(tmp_path / "scores.csv", rows)
    assert read_scores(tmp_path / "scores.csv").to_dict("records") == rows
    assert (tmp_path / "scores.csv").read_text().splitlines()[0] == ",".join(COLUMNS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("dice", "DSC"), "columns must be case,subset"),
        (lambda text: text[:-8], "evaluate again"),  # inside the last row
        (lambda text: text.rsplit("\n", 2)[0] + "\n", "b from T1 has 1 of 2 regions"),
        (lambda text: text.splitlines()[0] + "\n", "has no rows"),
        (lambda text: "", "not a complete table"),
        (lambda text: text + text.splitlines()[1] + "\n", "a, T1, whole stands there twice"),
        (lambda text: text.replace("0.25", "nan"), "not finite"),
        (lambda text: text.replace("0.25", "good"), "not a complete table"),
        (lambda text: text.replace("both", "maybe"), "presence must be one of both, none"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, change, message):
    path = tmp_path / "scores.csv"
    write_scores(path, [row(case, "T1", region, 0.25) for case in "ab" for region in ("whole", "core")])
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError, match=message) as caught:
        read_scores(path)
    assert "\n" not in str(caught.value)
    assert "scores.csv" in str(caught.value)


def test_names_that_a_spreadsheet_takes_for_formulas_are_written_as_text_and_read_again(tmp_path):
    names = ["=1+1", "-rf", "+T2", "@a", "'quoted"]
    rows = [{**row(name, "+T2+=F", "-1", 0.25), "dice": -0.25} for name in names]
    write_scores(tmp_path / "scores.csv", rows)
    with open(tmp_path / "scores.csv", newline="", encoding="utf-8") as file:
        cells = list(csv.DictReader(file))
    assert [cell["case"] for cell in cells] == [f"'{name}" for name in names]
    assert {(cell["subset"], cell["region"], cell["dice"]) for cell in cells} == {("'+T2+=F", "'-1", "-0.25")}
    read = read_scores(tmp_path / "scores.csv")
    assert list(read["case"]) == names
    assert set(zip(read["subset"], read["region"], strict=True)) == {("+T2+=F", "-1")}


def test_a_missing_file_names_its_folder(tmp_path):
    with pytest.raises(InputError, match=f"no scores.csv in {tmp_path}"):
        read_scores(tmp_path / "scores.csv")


def test_spread_of_a_sample():
    assert spread([1, 2, 3, 6]) == {"mean": 3.0, "sd": pytest.approx((14 / 3) ** 0.5), "variance": 14 / 3, "n": 4}
    assert spread([0.5]) == {"mean": 0.5, "sd": 0.0, "variance": 0.0, "n": 1}


def test_the_summary_by_hand():
    scores = table(
        row("a", "T1", "whole", 0.8, 2.0),
        row("a", "T1", "core", 0.4, 4.0),
        row("b", "T1", "whole", 0.6, 10.0, "reference", 374.0),
        row("b", "T1", "core", 1.0, 0.0, "none"),
    )
    assert case_means(scores)["dice"].tolist() == pytest.approx([0.6, 0.8])
    entropy = pd.DataFrame({"case": ["a", "b"], "subset": ["T1", "T1"], "entropy_nats": [0.1, 0.3]})
    found = summarise(scores, entropy, ["T1", "T1+T2"], ["T1", "T2"])
    assert json.loads(json.dumps(found)) == found
    assert (found["cases"], list(found["subsets"]), found["guidance"]) == (2, ["T1"], None)
    t1 = found["subsets"]["T1"]
    assert (t1["cases"], t1["entropy_nats"]) == (2, pytest.approx(0.2))
    assert t1["mean"]["dice"] == pytest.approx({"mean": 0.7, "sd": 0.02**0.5, "variance": 0.02, "n": 2})
    assert t1["mean"]["hd95_mm"]["mean"] == pytest.approx(4.0)
    assert t1["mean"]["hd95_brats_mm"]["mean"] == pytest.approx((3 + 187) / 2)
    assert list(t1["regions"]) == ["whole", "core"]
    assert t1["regions"]["core"]["dice"]["mean"] == pytest.approx(0.7)
    assert (t1["mean"]["none"], t1["regions"]["core"]["none"], t1["regions"]["whole"]["none"]) == (1, 1, 0)


def test_guidance_looks_at_the_cases_that_have_every_subset():
    dice = {"T1": 0.5, "T2": 0.7, "T1+T2": 0.8}
    rows = [row("a", subset, "whole", value) for subset, value in dice.items()]
    found = summarise(table(*rows, row("b", "T1", "whole", 0.0)), None, list(dice), ["T1", "T2"])
    assert found["subsets"]["T1"]["mean"]["dice"]["mean"] == 0.25
    assert found["subsets"]["T1"]["entropy_nats"] is None
    assert found["guidance"]["cases"] == 1
    assert found["guidance"]["mean"]["shapley"] == pytest.approx({"T1": 0.3, "T2": 0.5})
    assert found["guidance"]["regions"]["whole"] == found["guidance"]["mean"]
