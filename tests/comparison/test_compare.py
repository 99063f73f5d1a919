import csv

import pandas as pd
import pytest

from magms_nnunet.comparison.compare import compare
from magms_nnunet.comparison.published import TABLES
from magms_nnunet.errors import InputError
from tests.evaluation.evaluation_folder import write_evaluation

SUBSETS = ["FLAIR", "T1c", "FLAIR+T1c"]
CASES = ["c1", "c2", "c3", "c4", "c5", "c6"]


def dice_of(*base, cases=CASES):
    """Subset -> case -> Dice, growing by 0.01 per case."""
    return {
        subset: {case: value + 0.01 * i for i, case in enumerate(cases)}
        for subset, value in zip(SUBSETS, base, strict=True)
    }


def section(folder, title):
    """Lines of a table of comparison.md, header first, without the rule; and the note."""
    text = (folder / "comparison.md").read_text()
    body = text.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in body.splitlines() if line.startswith("|")]
    note = " ".join(line for line in body.splitlines() if line and not line.startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("| ")] for line in (lines[0], *lines[2:])], note


@pytest.fixture
def two(tmp_path):
    """The second system is better from T1c, worse from both, and equal to 3 decimals from FLAIR."""
    first = write_evaluation(tmp_path / "first", dice_of(0.5, 0.6, 0.8), entropy={"T1c": dict.fromkeys(CASES, 0.2)})
    second = write_evaluation(
        tmp_path / "second",
        dice_of(0.5001, 0.7, 0.7),
        entropy={"T1c": {case: 0.1 * (i % 2) for i, case in enumerate(CASES)}},
        training=None,
    )
    return [str(first), str(second)]


def test_the_main_table(tmp_path, two):
    text = compare(two, tmp_path / "out")
    rows, note = section(tmp_path / "out", "Dice of every subset")
    assert rows[0] == ["FLAIR", "T1c", "first", "second", "n"]
    # 0.5 ... 0.55: mean 0.525, variance of a sample 0.00035, its root 0.0187
    assert rows[1] == ["●", "○", "**0.525 ± 0.019 (0.000)**", "**0.525 ± 0.019 (0.000)**", "6"]
    assert rows[2] == ["○", "●", "0.625 ± 0.019 (0.000)", "**0.725 ± 0.019 (0.000)**", "6"]
    assert rows[3] == ["●", "●", "**0.825 ± 0.019 (0.000)**", "0.725 ± 0.019 (0.000)", "6"]
    assert "ties to 3 decimals" in note
    assert "Dice of every subset" in text
    assert "n = 6" in text


def test_wins_tests_and_holm(tmp_path, two):
    compare(two, tmp_path / "out")
    rows, _ = section(tmp_path / "out", "Subsets won against first")
    # HD95 is 10 * (1 - Dice) here: 4.750 against 4.749 mm from FLAIR is no tie
    assert rows[1] == ["second", "1 of 3", "1", "1", "2 of 3", "0", "1"]
    tests = pd.read_csv(tmp_path / "out/comparison_tests.csv")
    assert len(tests) == 6  # 3 subsets, 2 metrics
    # six cases, all of one sign: 2 / 2^6; every one of the six tests is the same, so Holm multiplies by 6
    assert tests["p"].tolist() == pytest.approx([2 / 64] * 6)
    assert tests["p_holm"].tolist() == pytest.approx([12 / 64] * 6)
    both = tests[(tests["subset"] == "FLAIR+T1c") & (tests["metric"] == "dice")].iloc[0]
    assert both["difference"] == pytest.approx(-0.1)
    assert both["low"] <= both["difference"] <= both["high"] < 0


def test_the_lower_hd95_is_the_better_one(tmp_path, two):
    compare(two, tmp_path / "out")
    rows, _ = section(tmp_path / "out", "Dice and HD95")
    assert rows[0][2:] == ["Dice: first", "Dice: second", "HD95 in mm: first", "HD95 in mm: second"]
    assert rows[2][4:] == ["3.750 ± 0.187", "**2.750 ± 0.187**"]


def test_the_paper_against_its_individual_models(tmp_path):
    """Twelve wins and a tie for Dice, as its table 3 shows (the text says 13), and 14 for HD95."""
    with (TABLES / "table3_msd_individual_vs_magms.csv").open() as file:
        printed = list(csv.DictReader(file))
    folders = []
    for system in ("unetr", "magms"):
        dice, hd95_mm = (
            {row["modalities"]: {"a": float(row[f"{system}_{metric}"])} for row in printed}
            for metric in ("dice", "hd95")
        )
        folder = write_evaluation(tmp_path / system, dice, ("F", "T1", "T1c", "T2"), hd95_mm)
        folders.append(str(folder))
    compare(folders, tmp_path / "out")
    rows, _ = section(tmp_path / "out", "Subsets won against unetr")
    assert rows[1] == ["magms", "12 of 15", "1", "2", "14 of 15", "0", "1"]
    _, note = section(tmp_path / "out", "Tests against unetr")
    assert "With n = 1, fewer than 6, no p below 0.05 is possible." in note
    _, note = section(tmp_path / "out", "What each modality adds to Dice: magms")
    assert "Best: F+T1c (0.769)" in note
    assert "T1 to F+T1c (0.769 to 0.766)" in note


def test_regions(tmp_path):
    dice = {"T1c": {"a": {"whole": 0.8, "core": 0.4}, "b": {"whole": 0.6, "core": 0.4}}}
    folder = write_evaluation(tmp_path / "x", dice, ["T1c"])
    compare([str(folder)], tmp_path / "out")
    rows, _ = section(tmp_path / "out", "Dice per region: x")
    assert rows == [
        ["T1c", "mean", "whole", "core"],
        ["●", "0.550 ± 0.071", "0.700 ± 0.141", "0.400 ± 0.000"],
    ]
    scores = pd.read_csv(tmp_path / "out/comparison_scores.csv", keep_default_na=False)
    assert sorted(set(scores["region"])) == ["", "core", "whole"]
    assert sorted(set(scores["metric"])) == ["dice", "hd95_brats_mm", "hd95_mm"]
    # one system: nothing to win, and nothing to test
    assert "against" not in (tmp_path / "out/comparison.md").read_text()
    assert not (tmp_path / "out/comparison_tests.csv").exists()


def test_cost_entropy_and_guidance(tmp_path, two):
    compare(two, tmp_path / "out", tolerance=0.2)
    rows, note = section(tmp_path / "out", "Cost of training")
    assert rows[1:] == [["first", "1", "3", "1000", "7.2", "2.00"], ["second", "1", "3", "–", "–", "–"]]
    assert "2^2 - 1 = 3 trainings" in note
    rows, _ = section(tmp_path / "out", "Predictive entropy")
    assert rows[0][2:] == ["first", "second", "second minus first"]
    assert rows[2][2:] == ["0.2000 ± 0.0000", "0.0500 ± 0.0548", "-0.1500 ± 0.0548"]
    assert rows[1][2:] == ["–", "–", "–"]
    rows, note = section(tmp_path / "out", "What each modality adds to Dice: first")
    assert "by more than 0.2 in 0 of 12 additions" in note
    # 0.525 alone, 0.625 alone, 0.825 together: (0.525 + 0.2) / 2 and (0.625 + 0.3) / 2
    assert float(rows[1][1]) == pytest.approx(0.3625, abs=6e-4)
    assert rows[1][2:] == ["0.525", "0.200", "0.200"]
    assert "within 0.2 of the best: T1c (0.625)" in note


def test_individually_trained_models_cost_the_sum(tmp_path):
    dice = dice_of(0.5, 0.6, 0.8)
    ours = write_evaluation(tmp_path / "ours", dice)
    parts = [
        write_evaluation(tmp_path / f"part{i}", {subset: dice[subset]}, subset.split("+"))
        for i, subset in enumerate(SUBSETS)
    ]
    compare([str(ours), "individual=" + ",".join(map(str, parts))], tmp_path / "out")
    rows, _ = section(tmp_path / "out", "Cost of training")
    assert [row[-1] for row in rows[1:]] == ["2.00", "6.00"]
    assert rows[2][1] == "3"
    rows, _ = section(tmp_path / "out", "Subsets won against ours")
    assert rows[1] == ["individual", "0 of 3", "3", "0", "0 of 3", "3", "0"]


def test_a_model_in_two_folders_was_trained_once(tmp_path):
    dice, model = dice_of(0.5, 0.6, 0.8), {"name": "m", "dataset": "d", "folds": ["0"], "sha256": "abc"}
    halves = [
        write_evaluation(tmp_path / str(i), {subset: dice[subset] for subset in subsets}, model=model)
        for i, subsets in enumerate((SUBSETS[:2], SUBSETS[2:]))
    ]
    compare(["x=" + ",".join(map(str, halves))], tmp_path / "out")
    rows, _ = section(tmp_path / "out", "Cost of training")
    assert rows[1] == ["x", "1", "3", "1000", "7.2", "2.00"]


def test_only_shared_cases_count_and_the_others_are_named(tmp_path):
    entropy = {"T1c": {"a": 0.1, "b": 0.1, "only first": 0.7}}
    first = write_evaluation(
        tmp_path / "first", dice_of(0.5, 0.6, 0.8, cases=["a", "b", "only first"]), entropy=entropy
    )
    second = write_evaluation(tmp_path / "second", dice_of(0.5, 0.6, 0.8, cases=["z", "b", "a"]))
    text = compare([str(first), str(second)], tmp_path / "out")
    assert "n = 2: a, b." in text
    rows, _ = section(tmp_path / "out", "Cases")
    assert rows[1:] == [["first", "3", "only first"], ["second", "3", "z"]]
    rows, _ = section(tmp_path / "out", "Dice of every subset")
    assert rows[1][2:] == ["0.505 ± 0.007 (0.000)", "**0.515 ± 0.007 (0.000)**", "2"]
    rows, _ = section(tmp_path / "out", "Predictive entropy")
    assert rows[2][2:] == ["0.1000 ± 0.0000", "–", "–"]


def test_a_case_of_which_one_system_was_given_more_is_left_out(tmp_path):
    whole, gap = dice_of(0.5, 0.6, 0.8), dice_of(0.4, 0.5, 0.7)
    for subset in ("T1c", "FLAIR+T1c"):
        del gap[subset]["c6"]
    lacks = {"absent_modalities": {"c6": ["T1c"]}}
    first = write_evaluation(tmp_path / "first", whole)
    second, third = (write_evaluation(tmp_path / name, gap, **lacks) for name in ("second", "third"))
    compare([str(second), str(third)], tmp_path / "same")
    rows, _ = section(tmp_path / "same", "Dice of every subset")
    assert [row[-1] for row in rows[1:]] == ["6", "5", "5"]
    rows, _ = section(tmp_path / "same", "Dice and HD95")
    assert [row[-1] for row in rows] == ["n", "6", "5", "5"]
    _, note = section(tmp_path / "same", "What each modality adds to Dice: second")
    assert note.startswith("Of the 5 cases with all modalities. Best: FLAIR+T1c (0.720)")
    assert "in 0 of 10 additions" in note  # FLAIR to both and T1c to both, in five cases
    compare([str(first), str(second)], tmp_path / "other")
    rows, _ = section(tmp_path / "other", "Cases")
    assert rows[1:] == [["first", "6", "c6"], ["second", "6", "c6"]]
    cut = write_evaluation(tmp_path / "cut", gap)  # without a word of what the case lacks
    with pytest.raises(InputError, match=r"lacks 2 of 18 predictions .* the first c6 from FLAIR\+T1c"):
        compare([str(cut)], tmp_path / "never")


TRAINING = {"seconds": 1.0, "seconds_per_epoch": 1.0, "modalities": 2}
MODEL = {"name": "M__P__2d", "dataset": "D", "sha256": "second", "folds": ["0"]}


@pytest.mark.parametrize(
    ("what", "values", "run"),
    [
        ("Mirroring", ["True", "False"], {"settings": {"step_size": 0.5, "mirroring": False}}),
        ("Step size", ["0.5", "0.25"], {"settings": {"step_size": 0.25, "mirroring": True}}),
        ("Epochs of training", ["1000", "50"], {"training": {**TRAINING, "epochs": 50}}),
        ("Number of folds", ["1", "5"], {"model": {**MODEL, "folds": list("01234")}, "training": None}),
        ("Checks of the images", ["nan to zero False", "nan to zero True"], {"checks": {"nan_to_zero": True}}),
    ],
)
def test_what_makes_a_comparison_unfair_stands_first_everywhere(what, values, run, tmp_path):
    dice = dice_of(0.5, 0.6, 0.8)
    first = write_evaluation(tmp_path / "first", dice, checks={"nan_to_zero": False})
    second = write_evaluation(tmp_path / "second", dice, **({"checks": {"nan_to_zero": False}} | run))
    text = compare([str(first), str(second)], tmp_path / "out")
    title = f"Not comparable because these differ: {what.lower()}"
    assert text.startswith(f"## {title}\n")
    assert (tmp_path / "out/comparison.md").read_text().startswith(f"# Comparison\n\n## {title}\n")
    assert (tmp_path / "out/comparison.tex").read_text().split("\\caption{", 2)[1].startswith(title)
    rows, _ = section(tmp_path / "out", title)
    assert rows == [["What differs", "first", "second"], [what, *values]]
    with (tmp_path / "out/comparison_differences.csv").open(newline="") as file:
        assert list(csv.reader(file)) == rows


def test_another_checkpoint_is_a_difference_and_an_unknown_one_is_none(tmp_path):
    dice = dice_of(0.5, 0.6, 0.8)
    best, final = ({**MODEL, "checkpoint": f"checkpoint_{which}.pth"} for which in ("best", "final"))
    runs = {"best": {"model": best}, "final": {"model": final}, "unknown": {"model": MODEL}}
    folders = {name: str(write_evaluation(tmp_path / name, dice, **run)) for name, run in runs.items()}
    assert "because these differ: checkpoint\n" in compare([folders["best"], folders["final"]], tmp_path / "1")
    assert "Not comparable" not in compare([folders["best"], folders["unknown"]], tmp_path / "2")
    assert not (tmp_path / "2/comparison_differences.csv").exists()


def test_no_shared_case_names_both_sides(tmp_path):
    folders = [write_evaluation(tmp_path / name, dice_of(0.5, 0.6, 0.8, cases=[name])) for name in ("x", "y")]
    with pytest.raises(InputError, match="no case is in all systems: x has x; y has y"):
        compare([str(folder) for folder in folders], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_published_figures_stand_apart(tmp_path):
    subsets = ["FLAIR", "T1n", "T1ce", "T2w", "FLAIR+T1ce"]
    dice = {subset: dict.fromkeys(CASES, 0.1) for subset in subsets}
    folder = write_evaluation(tmp_path / "ours", dice, ("FLAIR", "T1n", "T1ce", "T2w"))
    compare([str(folder)], tmp_path / "out", published=True)
    rows, _ = section(tmp_path / "out", "Dice of every subset")
    assert rows[0][4] == "ours"
    assert rows[0][8] == r"MAG-MS \[published, other data set: arXiv 2306.03730, Table 2\]"
    assert rows[5][8] == "0.769 (0.008)"
    text = (tmp_path / "out/comparison.md").read_text()
    assert text.count("## Published, other data set: arXiv 2306.03730, Table") == 4
    assert "**" not in text
    assert "5.714" not in (tmp_path / "out/comparison_scores.csv").read_text()


def test_published_figures_of_other_modalities_are_refused(tmp_path, two):
    with pytest.raises(InputError, match=r"--published: no table of arXiv 2306.03730 is about FLAIR, T1c"):
        compare(two, tmp_path / "out", published=True)


def test_names_stay_text(tmp_path):
    cases = ["a b", "<script>alert(1)</script>", "x|y", "=1+1"]
    folder = write_evaluation(tmp_path / "ours", dice_of(0.5, 0.6, 0.8, cases=cases))
    compare([f"50% <b>|A&B_1={folder}"], tmp_path / "out")
    text = (tmp_path / "out/comparison.md").read_text()
    assert "&lt;script&gt;" in text
    assert "<script>" not in text
    assert "<b>" not in text
    assert r"x\|y" in text
    tex = (tmp_path / "out/comparison.tex").read_text()
    assert r"50\% \textless{}b\textgreater{}\textbar{}A\&B\_1" in tex
    assert "<script>" not in tex


def test_the_output_folder(tmp_path, two):
    out = tmp_path / "out"
    compare(two, out)
    with pytest.raises(InputError, match="out is not empty: name another folder, or add --overwrite"):
        compare(two, out)
    compare(two[:1], out, overwrite=True)
    assert not (out / "comparison_tests.csv").exists()
    with pytest.raises(InputError, match="is one of the folders to compare"):
        compare(two, two[0], overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        compare(two, tmp_path / "file", overwrite=True)
