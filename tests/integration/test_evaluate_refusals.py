"""What magms_evaluate refuses: exit 2, one line, nothing written."""

import json
import shutil
from collections.abc import Callable

import pytest

from tests.integration.workspace import ENDING, Dataset, files_in, give


@pytest.fixture
def refusal(evaluate, tmp_path, capfd) -> Callable[..., str]:
    """refusal(*flags): the one line of a magms_evaluate that ends with 2 and has written nothing."""

    def refused(*flags) -> str:
        capfd.readouterr()
        assert evaluate(tmp_path / "refused", *flags) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert files_in(tmp_path / "refused") == set()
        return line

    return refused


def test_lists_of_images_and_labels_that_differ(refusal, workspace, aligned, tmp_path):
    labels = shutil.copytree(aligned[1], tmp_path / "labels")
    (labels / f"case1{ENDING}").rename(labels / f"other{ENDING}")
    line = refusal("-i", aligned[0], "-l", labels)
    assert f"images without labels in {labels}: case1; labels without images in {aligned[0]}: other" in line


def test_dataset_with_other_channels(refusal, aligned, tmp_path):
    shutil.copytree(aligned[0], tmp_path / "imagesTs")
    other = Dataset(modalities=("FLAIR", "T1c", "T1", "T2"))
    (tmp_path / "dataset.json").write_text(json.dumps(other.json))
    line = refusal("-i", tmp_path / "imagesTs", "-l", aligned[1])
    assert "the model reads FLAIR, T1, T1c, T2, the dataset in" in line
    assert "has FLAIR, T1c, T1, T2" in line


def test_subset_that_no_case_has(refusal, aligned, tmp_path):
    images = give(aligned[0], tmp_path / "images", {"case0": (0, 2), "case1": (0, 2, 3)})
    line = refusal("-i", images, "-l", aligned[1], "--protocol", "absent", "--subsets", "T1+F", "T1c")
    assert "no case has all of FLAIR+T1: give other --subsets, or add the files" in line


def test_a_part_cannot_be_attached(refusal):
    assert "--attach needs all cases" in refusal("--attach", "-num_parts", 2)


def test_a_previous_stage_for_what_is_no_cascade(refusal, aligned):
    line = refusal("-prev_stage_predictions", aligned[1], "--protocol", "absent")
    assert "3d_fullres has no previous stage: leave out -prev_stage_predictions" in line


def test_names_that_lead_out_of_the_folder(refusal, workspace):
    splits = workspace.preprocessed / "splits_final.json"
    content = splits.read_text()
    try:
        splits.write_text(json.dumps([{"train": ["case0"], "val": ["../case1"]}]))
        line = refusal()
    finally:
        splits.write_text(content)
    assert "../case1" in line
