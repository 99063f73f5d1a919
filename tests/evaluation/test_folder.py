import csv
import json

import numpy as np
import pytest

from magms_nnunet.errors import InputError
from magms_nnunet.evaluation import folder as evaluation
from magms_nnunet.evaluation.evaluate import attach_summary
from magms_nnunet.evaluation.score_logits import SubsetScores
from magms_nnunet.evaluation.scores import score_case

SUBSETS = ["FLAIR", "T1c", "FLAIR+T1c"]
CASES = ["a", "a b", "<script>", "d"]
RUN = {
    "model": {
        "name": "MAGMSTrainer__MAGMSPlans__3d_fullres",
        "dataset": "Dataset901_Balls",
        "trainer": "MAGMSTrainer",
        "plans": "MAGMSPlans",
        "configuration": "3d_fullres",
        "folds": ["0"],
        "checkpoint": "checkpoint_final.pth",
        "sha256": "0" * 64,
    },
    "protocol": "masked",
    "fill": None,
    "settings": {"step_size": 0.5, "mirroring": True},
    "modalities": ["FLAIR", "T1c"],
    "regions": {"whole": [1, 2], "core": [2]},
    "subsets": SUBSETS,
    "all_cases": CASES,
    "part": [0, 1],
    "cases": [],
    "training": None,
    "versions": {"magms_nnunet": "0.1.0", "nnunetv2": "2.8.1", "torch": "2.13.0"},
    "command": "magms_evaluate -o OUT",
}


def save(folder, name):
    """A case of 4 x 4 pixels: FLAIR misses the core, T1c half of the edema, both find everything."""
    reference = np.array([[0, 0, 0, 0], [0, 1, 2, 0], [0, 1, 2, 0], [0, 0, 0, 0]], np.uint8)
    predictions = {"FLAIR": np.where(reference == 2, 1, reference), "T1c": reference.copy(), "FLAIR+T1c": reference}
    predictions["T1c"][1, 1] = 0
    scores = {
        subset: SubsetScores(
            score_case(name, subset, reference, predictions[subset], RUN["regions"], (1.0, 1.0)), 0.1 * number, labels
        )
        for number, (subset, labels) in enumerate(predictions.items())
    }
    image = {
        "images": np.full((2, 4, 4), 100, np.uint8),
        "reference": reference,
        "spacing_mm": np.array([1.0, 1.0]),
    }
    evaluation.save_case(folder, name, scores, SUBSETS, image)


def begun(path, cases=(), **changes):
    """An evaluation of which these cases are finished."""
    path.mkdir()
    evaluation.begin(path, RUN | changes)
    for name in cases:
        save(path, name)
    return path


def one_line(function, *arguments) -> str:
    with pytest.raises(InputError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", "/etc", "a\\b", "a/"])
def test_names_that_lead_out_of_the_folder_are_refused(name):
    assert one_line(evaluation.check_case_names, ["a", name]) == f"case name {name!r} is no file name: rename the case"


def test_other_names_are_fine():
    evaluation.check_case_names(["a b", "<script>", "..a", "a.b", "NA", "007", "\N{GREEK SMALL LETTER MU}", "-rf"])


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

    monkeypatch.setattr(evaluation, "write_json", power_cut)
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


CHANGES = {
    "model": {**RUN["model"], "sha256": "1" * 64},
    "protocol": "absent",
    "fill": "zero",
    "settings": {"step_size": 0.5, "mirroring": False},
    "modalities": ["T1c", "FLAIR"],
    "regions": {"whole": [1, 2]},
    "subsets": ["FLAIR", "FLAIR+T1c"],
    "all_cases": ["a", "b"],
}
FOLDERS = {"images": "/data/imagesTs", "labels": "/data/corrected", "previous_stage": "/data/lowres"}
RESUMED = {**CHANGES, **FOLDERS, "part": [0, 2]}


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


@pytest.fixture
def parts(tmp_path):
    """The two parts of an evaluation, finished."""
    halves = [begun(tmp_path / f"part{k}", CASES[k::2], part=[k, 2]) for k in range(2)]
    for half in halves:
        evaluation.complete(half)
    return halves


def test_a_part_is_completed_from_its_own_cases(parts):
    assert [evaluation.read_run(part)["cases"] for part in parts] == [["a", "<script>"], ["a b", "d"]]


@pytest.mark.parametrize("order", [1, -1])
def test_merged_parts_are_as_one_evaluation(parts, tmp_path, order):
    whole = begun(tmp_path / "whole", CASES)
    evaluation.complete(whole)
    (tmp_path / "merged").mkdir()
    evaluation.merge(parts[::order], tmp_path / "merged")
    evaluation.complete(tmp_path / "merged")
    for name in ("scores.csv", "entropy.csv", "summary.json"):
        assert (tmp_path / "merged" / name).read_bytes() == (whole / name).read_bytes()
    run = evaluation.read_run(tmp_path / "merged")
    assert run == RUN | {"cases": CASES, "command": "magms_evaluate --merge (2 parts)"}
    for name in CASES:
        assert (tmp_path / f"merged/slices/{name}.npz").is_file()
    assert evaluation.finished_cases(parts[0], CASES) == ["a", "<script>"]  # the parts stay


def test_segmentations_of_the_parts_are_merged_too(parts, tmp_path):
    """A cascade's next stage reads all of them from one folder."""
    for part, name in zip(parts, CASES, strict=False):
        (part / "segmentations/FLAIR").mkdir(parents=True)
        (part / f"segmentations/FLAIR/{name}.nii.gz").touch()
    (tmp_path / "merged").mkdir()
    evaluation.merge(parts, tmp_path / "merged")
    assert {path.name for path in (tmp_path / "merged/segmentations/FLAIR").iterdir()} == {"a.nii.gz", "a b.nii.gz"}


def test_merging_again_gives_the_same(parts, tmp_path):
    (tmp_path / "merged").mkdir()
    for _ in range(2):
        evaluation.merge(parts, tmp_path / "merged")
        assert evaluation.complete(tmp_path / "merged")["cases"] == 4


def refused(parts, tmp_path) -> str:
    output = tmp_path / "merged"
    output.mkdir()
    message = one_line(evaluation.merge, parts, output)
    assert not list(output.iterdir())
    return message


def test_a_missing_part(parts, tmp_path):
    assert refused(parts[:1], tmp_path) == (
        "the parts are not complete, 2 of 4 cases are missing (a b, d): give all parts, or finish them first"
    )


def test_an_unfinished_part(parts, tmp_path):
    (parts[1] / "cases/d.json").unlink()
    assert "1 of 4 cases are missing (d)" in refused(parts, tmp_path)


def test_parts_that_overlap(parts, tmp_path):
    third = begun(tmp_path / "third", ["a b"], part=[1, 3])
    assert refused([*parts, third], tmp_path) == f"a b is in {parts[1]} and in {third}: give each part once"


def test_the_same_part_twice(parts, tmp_path):
    again = parts[1] / ".." / parts[1].name
    assert "give each part once" in refused([*parts, again], tmp_path)


def test_machines_may_call_the_folders_otherwise(tmp_path):
    halves = [
        begun(tmp_path / "0", CASES[::2], part=[0, 2]),
        begun(tmp_path / "1", CASES[1::2], part=[1, 2], **FOLDERS),
    ]
    (tmp_path / "merged").mkdir()
    evaluation.merge(halves, tmp_path / "merged")
    assert evaluation.finished_cases(tmp_path / "merged", CASES) == CASES


@pytest.mark.parametrize("key", CHANGES)
def test_a_part_of_another_evaluation(parts, tmp_path, key):
    other = begun(tmp_path / "other", CASES[1::2], part=[1, 2], **{key: CHANGES[key]})
    assert refused([parts[0], other], tmp_path) == (
        f"{other} and {parts[0]} are of evaluations with another {key.replace('_', ' ')}"
    )


def test_a_folder_that_is_no_evaluation_is_no_part(parts, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "empty is no evaluation: it has no run.json" in refused([*parts, tmp_path / "empty"], tmp_path)


def test_parts_are_not_merged_into_one_of_them(parts, tmp_path):
    before = {path: path.read_bytes() for path in parts[0].rglob("*") if path.is_file()}
    assert "part0 is one of the parts to merge: choose another -o" in one_line(evaluation.merge, parts, parts[0])
    assert {path: path.read_bytes() for path in parts[0].rglob("*") if path.is_file()} == before
    whole = begun(tmp_path / "whole", CASES)
    assert "one of the parts" in one_line(evaluation.merge, [whole], whole / "../whole")


def test_parts_are_not_merged_into_another_evaluation(parts, tmp_path):
    other = begun(tmp_path / "other", ["a"], fill="zero")
    assert "holds an evaluation with another fill" in one_line(evaluation.merge, parts, other)
    assert evaluation.finished_cases(other, CASES) == ["a"]
