import json

import numpy as np
import pytest

from magms_nnunet.evaluation import folder as evaluation
from magms_nnunet.evaluation.evaluate import attach_summary
from magms_nnunet.evaluation.score_logits import SubsetScores
from tests.evaluation.small_evaluation import CASES, CHANGES, FOLDERS, RUN, SUBSETS, begun, one_line, rows, save


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", "/etc", "a\\b", "a/"])
def test_names_that_lead_out_of_the_folder_are_refused(name):
    assert one_line(evaluation.check_case_names, ["a", name]) == f"case name {name!r} is no file name: rename the case"


def test_other_names_are_fine():
    evaluation.check_case_names(["a b", "<script>", "..a", "a.b", "NA", "007", "\N{GREEK SMALL LETTER MU}", "-rf"])


def test_what_a_system_leaves_is_no_obstacle(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".DS_Store").touch()
    evaluation.begin(tmp_path / "out", RUN)
    assert (tmp_path / "out" / "run.json").is_file()


def test_a_finished_case_can_be_read_back(tmp_path):
    folder = begun(tmp_path / "out", ["<script>"])
    assert evaluation.finished_cases(folder, CASES) == ["<script>"]
    with np.load(folder / "slices/<script>.npz") as content:
        assert {key: content[key].shape for key in content} == {
            "images": (2, 4, 4),
            "reference": (4, 4),
            "predictions": (3, 4, 4),
            "spacing_mm": (2,),
        }
        assert content["predictions"].dtype == np.uint8
        assert (content["predictions"][0] == 2).sum() == 0  # in the order of run.json
        np.testing.assert_array_equal(content["predictions"][2], content["reference"])
    case = json.loads((folder / "cases/<script>.json").read_text())
    assert case["entropy_nats"] == {"FLAIR": 0, "T1c": pytest.approx(0.1), "FLAIR+T1c": pytest.approx(0.2)}
    assert [(row["subset"], row["region"]) for row in case["scores"]] == [
        (subset, region) for subset in SUBSETS for region in ("whole", "core")
    ]


def test_a_case_that_was_interrupted_is_not_finished(tmp_path, monkeypatch):
    folder = begun(tmp_path / "out")

    def power_cut(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluation, "replace_json", power_cut)
    with pytest.raises(KeyboardInterrupt):
        save(folder, "a")
    assert (folder / "slices/a.npz").is_file()
    assert evaluation.finished_cases(folder, CASES) == []


def test_completed_by_hand(tmp_path):
    folder = begun(tmp_path / "out", CASES)
    summary = evaluation.complete(folder)
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert summary["cases"] == 4
    regions = {subset: summary["subsets"][subset]["regions"] for subset in SUBSETS}
    dice = {subset: {name: of["dice"]["mean"] for name, of in regions[subset].items()} for subset in SUBSETS}
    assert dice == {
        "FLAIR": {"whole": 1, "core": 0},
        "T1c": {"whole": pytest.approx(6 / 7), "core": 1},
        "FLAIR+T1c": {"whole": 1, "core": 1},
    }
    assert summary["subsets"]["FLAIR"]["mean"]["dice"] == {"mean": 0.5, "sd": 0, "variance": 0, "n": 4}
    assert summary["subsets"]["T1c"]["entropy_nats"] == pytest.approx(0.1)
    assert summary["guidance"]["mean"]["best"]["subset"] == "FLAIR+T1c"

    assert evaluation.read_run(folder) == RUN | {"cases": CASES}
    scores, entropies = rows(folder / "scores.csv"), rows(folder / "entropy.csv")
    assert [row["case"] for row in scores] == [name for name in CASES for _ in range(6)]
    assert [(row["case"], row["subset"]) for row in entropies] == [(name, s) for name in CASES for s in SUBSETS]
    assert [float(row["entropy_nats"]) for row in entropies[:3]] == pytest.approx([0, 0.1, 0.2])
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;" in report
    assert not list(folder.rglob(".magms_*"))


def test_tables_can_be_made_of_some_cases_and_again_of_all(tmp_path):
    folder = begun(tmp_path / "out", ["d", "a"])
    assert evaluation.complete(folder)["cases"] == 2
    assert evaluation.read_run(folder)["cases"] == ["a", "d"]  # in the order of the evaluation
    before = {path: path.read_bytes() for path in (folder / "cases").iterdir()}
    evaluation.begin(folder, RUN)
    assert {path: path.read_bytes() for path in (folder / "cases").iterdir()} == before
    for name in ("<script>", "a b"):
        save(folder, name)
    assert evaluation.complete(folder)["cases"] == 4
    assert [row["case"] for row in rows(folder / "entropy.csv")[::3]] == CASES


def test_resuming_does_not_mind_the_command_and_the_versions(tmp_path):
    folder = begun(tmp_path / "out", ["a"])
    evaluation.begin(folder, RUN | {"command": "magms_evaluate -npp 0 -o OUT", "versions": {}, "training": None})
    assert evaluation.read_run(folder) == RUN
    with_tuples = json.loads(json.dumps(RUN)) | {"subsets": tuple(SUBSETS), "part": (0, 1)}
    evaluation.begin(folder, with_tuples)  # lists are as good


RESUMED = {**CHANGES, **FOLDERS, "part": [0, 2]}


def test_another_folder_of_the_same_name_is_another_one(tmp_path):
    folder = begun(tmp_path / "out", ["a"], folders_sha256={"images": "0", "labels": "1"})
    other = RUN | {"folders_sha256": {"images": "0", "labels": "2"}}
    assert "holds an evaluation with another labels: choose" in one_line(evaluation.begin, folder, other)


@pytest.mark.parametrize(("key", "value"), RESUMED.items(), ids=RESUMED)
def test_another_evaluation_in_the_folder_is_refused_by_name(tmp_path, key, value):
    folder = begun(tmp_path / "out", ["a"])
    before = sorted(folder.rglob("*"))
    assert one_line(evaluation.begin, folder, RUN | {key: value}) == (
        f"{folder} holds an evaluation with another {key.replace('_', ' ')}: choose another -o"
    )
    assert sorted(folder.rglob("*")) == before
    assert evaluation.read_run(folder) == RUN


def test_an_evaluation_that_was_killed_as_it_began_goes_on(tmp_path):
    folder = begun(tmp_path / "out")
    for kept in ("cases", "slices"):
        (folder / kept).rmdir()
    evaluation.begin(folder, RUN)
    save(folder, "a")
    assert evaluation.finished_cases(folder, CASES) == ["a"]


def test_slices_keep_labels_of_sixteen_bits(tmp_path):
    folder, labels = begun(tmp_path / "out"), np.array([[0, 300, 65535]], np.uint16)
    scores = {subset: SubsetScores([], 0.0, labels) for subset in SUBSETS}
    image = {"images": np.zeros((2, 1, 3), np.uint8), "reference": labels, "spacing_mm": np.ones(2)}
    evaluation.save_case(folder, "a", scores, SUBSETS, image, {})
    with np.load(folder / "slices/a.npz") as content:
        for kept in (content["reference"], *content["predictions"]):
            np.testing.assert_array_equal(kept, labels)


def test_everything_that_differs_is_named(tmp_path):
    folder = begun(tmp_path / "out")
    changes = {key: CHANGES[key] for key in ("subsets", "protocol")}
    assert "with another protocol, subsets: " in one_line(evaluation.begin, folder, RUN | changes)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.docx").touch()
    assert "is not empty (thesis.docx) and no evaluation" in one_line(evaluation.begin, tmp_path, RUN)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.docx"]


@pytest.mark.parametrize(
    ("content", "problem"), [("{", "not valid JSON"), ("{}", "lacks model, protocol"), (None, "it has no run.json")]
)
def test_a_damaged_run_is_named(tmp_path, content, problem):
    folder = begun(tmp_path / "out")
    if content is None:
        (folder / "run.json").unlink()
    else:
        (folder / "run.json").write_text(content)
        assert problem in one_line(evaluation.begin, folder, RUN)
    assert problem in one_line(evaluation.read_run, folder)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("model", "x", "an object with name, dataset, sha256 and folds, got 'x'"),
        ("model", {"name": "x"}, "an object with name"),
        ("all_cases", [["a"]], "a list of names, got [['a']]"),
        ("cases", [[1]], "a list of names, got [[1]]"),
        ("modalities", {}, "a list of names"),
        ("regions", {"whole": 1}, "an object of lists of labels"),
    ],
)
def test_a_run_of_other_types_is_named(tmp_path, key, value, says):
    folder = begun(tmp_path / "out", ["a"])
    (folder / "run.json").write_text(json.dumps(RUN | {key: value}))
    for function in (
        evaluation.complete,
        lambda part: evaluation.merge([part], tmp_path / "merged"),
        lambda part: attach_summary(tmp_path, part, {}),
    ):
        assert f"{folder / 'run.json'}: {key} must be {says}" in one_line(function, folder)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"scores": [{}], "entropy_nats": {}},
        {"scores": [1], "entropy_nats": {}},
        {"scores": [], "entropy_nats": {"T1c": "x"}},
        {"scores": [], "entropy_nats": []},
    ],
)
def test_a_damaged_case_is_named(tmp_path, content):
    folder = begun(tmp_path / "out", ["a", "d"])
    (folder / "cases/d.json").write_text(json.dumps(content))
    assert (
        one_line(evaluation.complete, folder) == f"{folder / 'cases/d.json'} is damaged: remove it, and evaluate again"
    )
