"""magms_evaluate and magms_compare where cases lack modalities: a subset is scored on the cases that have it."""

import json
import shutil

import numpy as np
import pytest

from magms_nnunet.cli.evaluate import main as magms_evaluate
from magms_nnunet.comparison.compare import compare
from magms_nnunet.modalities import Modalities
from magms_nnunet.model.expected import FILE
from tests.evaluation.small_evaluation import rows
from tests.faults.tiny import FLAIR, NAMES, SHAPE, T1, T1C, T2, give
from tests.integration.workspace import ENDING, QUIET, files_in, read_voxels, write_image

M = Modalities(NAMES)
HAS = {"a": range(4), "b": (FLAIR, T1C, T2), "c": (FLAIR, T2)}
SCORED = [
    (case, M.format(subset)) for case, channels in HAS.items() for subset in M.subsets() if set(subset) <= {*channels}
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    give(folder / "images", HAS)
    for case in HAS:
        labels = np.zeros(SHAPE, np.uint8)
        labels[5:10, 5:10, 5:10] = 1
        write_image(folder / "labels" / f"{case}{ENDING}", labels)
    return folder


@pytest.fixture
def evaluate(model, data, capfd):
    """evaluate(output, *flags): exit code, and the lines on stderr."""

    def evaluate(output, *flags, model=model, data=data):
        folders = ("-i", data / "images", "-l", data / "labels", "-o", output, "-m", model, "-f", 0)
        code = magms_evaluate([*map(str, (*folders, "--disable_tta", *QUIET, *flags))])
        return code, capfd.readouterr().err.splitlines()

    return evaluate


def scored(folder):
    return list(dict.fromkeys((row["case"], row["subset"]) for row in rows(folder / "scores.csv")))


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.mark.parametrize("protocol", ["masked", "absent"])
def test_each_subset_is_scored_on_the_cases_that_have_it(protocol, evaluate, tmp_path):
    code, (line,) = evaluate(tmp_path / "out", "--protocol", protocol)
    assert code == 0
    assert line.endswith("2 of 3 cases lack modalities: each subset is scored on the cases that have it")
    assert sorted(scored(tmp_path / "out")) == sorted(SCORED)
    found = summary(tmp_path / "out")
    for subset, of_subset in found["subsets"].items():
        n = sum(name == subset for _, name in SCORED)
        assert of_subset["cases"] == of_subset["mean"]["dice"]["n"] == n
    assert (found["cases"], found["guidance"]["cases"]) == (3, 1)  # what a modality adds: of the one that has all
    page = (tmp_path / "out/report.html").read_text()
    assert "it, 1 to 3 of them (column n)" in page
    assert page.count(">n</th>") == 2


def test_a_case_is_segmented_as_if_it_were_alone(evaluate, tmp_path):
    """All images have the same crop here, so that both protocols must agree."""
    subset = "FLAIR+T1c"
    for protocol in ("masked", "absent"):
        flags = ("--protocol", protocol, "--subsets", subset, "T2", "--save_segmentations")
        assert evaluate(tmp_path / protocol, *flags)[0] == 0
    for case, of in [("a", subset), ("b", subset), ("c", "T2")]:
        files = [tmp_path / protocol / "segmentations" / of / f"{case}{ENDING}" for protocol in ("masked", "absent")]
        np.testing.assert_array_equal(*map(read_voxels, files))
    assert not (tmp_path / "masked/segmentations" / subset / f"c{ENDING}").exists()


def test_cases_that_have_none_of_the_subsets_are_left_out_by_name(evaluate, tmp_path):
    code, (line,) = evaluate(tmp_path / "out", "--subsets", "T1c")
    assert code == 0
    assert line.endswith("1 of 3 cases have none of the subsets and are left out: c")
    assert scored(tmp_path / "out") == [("a", "T1c"), ("b", "T1c")]


def test_a_subset_that_no_case_has_is_named(evaluate, data, tmp_path):
    only = shutil.copytree(data, tmp_path / "data")
    (only / f"images/a_0001{ENDING}").unlink()
    code, (line,) = evaluate(tmp_path / "out", "--subsets", "T1", "T2", data=only)
    assert (code, files_in(tmp_path / "out")) == (2, set())
    assert line == "magms_evaluate: error: no case has all of T1: give other --subsets, or add the files"
    assert evaluate(tmp_path / "out", data=only)[0] == 0
    assert set(summary(tmp_path / "out")["subsets"]) == {M.format(s) for s in M.subsets() if T1 not in s}
    assert summary(tmp_path / "out")["guidance"] is None


def test_parts_are_merged_and_a_file_that_came_later_is_noticed(evaluate, data, tmp_path):
    grows = shutil.copytree(data, tmp_path / "data")
    for part in "01":
        assert evaluate(tmp_path / part, "-num_parts", 2, "-part_id", part, data=grows)[0] == 0
    assert evaluate(tmp_path / "out", "--merge", tmp_path / "0", tmp_path / "1")[0] == 0
    assert sorted(scored(tmp_path / "out")) == sorted(SCORED)
    shutil.copy(grows / f"images/a_0001{ENDING}", grows / f"images/b_0001{ENDING}")
    code, lines = evaluate(tmp_path / "0", "-num_parts", 2, "-part_id", 0, data=grows)
    assert code == 2
    assert "holds an evaluation with another absent modalities: choose another -o" in lines[-1]


def test_what_to_expect_says_of_how_many_cases_a_subset_is(evaluate, model, tmp_path):
    copy = shutil.copytree(model, tmp_path / model.parent.name / model.name)
    assert evaluate(tmp_path / "out", "--attach", model=copy)[0] == 0
    subsets = json.loads((copy / FILE).read_text())["subsets"]
    assert [subsets[name]["cases"] for name in ("FLAIR", "T1c", "T1")] == [3, 2, 1]


def test_systems_are_compared_per_subset_on_the_cases_that_have_it(evaluate, tmp_path):
    assert evaluate(tmp_path / "x")[0] == 0
    text = compare([str(tmp_path / "x"), f"y={tmp_path / 'x'}"], tmp_path / "out")
    assert "n = 3: a, b, c. Cases lack modalities" in text
    table = text.split("## Dice of every subset")[1]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "●" in line]
    counts = {tuple(cell == "●" for cell in line[:4]): int(line[-1]) for line in lines}
    for subset in M.subsets():
        n = sum(name == M.format(subset) for _, name in SCORED)
        assert counts[tuple(m in subset for m in range(4))] == n
    assert "Of the 1 cases with all modalities. Best: " in (tmp_path / "out/comparison.md").read_text()
