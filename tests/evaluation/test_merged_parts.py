import pytest

from magms_nnunet.evaluation import folder as evaluation
from tests.evaluation.small_evaluation import CASES, CHANGES, FOLDERS, RUN, begun, one_line


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
