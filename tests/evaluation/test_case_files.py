"""Scores are of files with a certain content, whatever their times say."""

import os

import pytest

from magms_nnunet.errors import InputError
from magms_nnunet.evaluation.case_files import check_scored_files, digests, files_of_case
from magms_nnunet.evaluation.labelled_cases import LabelledCase
from magms_nnunet.images.cases import Case
from magms_nnunet.modalities import Modalities

M = Modalities(("FLAIR", "T1", "T1c"))


@pytest.fixture
def files(tmp_path):
    """A case whose files all have one name, as those that a dataset.json lists may have."""
    for folder in ("0", "1", "2", "label", "stage"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "p1.nii.gz").write_text(folder)
    case = Case("p1", {channel: tmp_path / str(channel) / "p1.nii.gz" for channel in range(3)})
    labelled = LabelledCase(case, tmp_path / "label/p1.nii.gz")
    return files_of_case(labelled, (0, 2), M, {(0,): tmp_path / "stage/p1.nii.gz"})


def test_every_file_that_is_read_and_no_other_is_kept(files):
    assert {what: path.parent.name for what, path in files.items()} == {
        "FLAIR": "0",
        "T1c": "2",
        "previous stage of FLAIR": "stage",
        "reference": "label",
    }
    assert len(set(digests(files).values())) == 4


@pytest.mark.parametrize("what", ["FLAIR", "T1c", "previous stage of FLAIR", "reference"])
@pytest.mark.parametrize("change", ["content", "gone"])
def test_a_file_that_was_replaced_is_named_though_its_time_is_the_same(what, change, files, tmp_path):
    kept, stat = digests(files), files[what].stat()
    check_scored_files("p1", kept, files, tmp_path / "p1.json")
    if change == "gone":
        files[what].unlink()
    else:
        files[what].write_text("another")
        os.utime(files[what], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(InputError, match=rf"p1: .*p1\.json was scored with another {what} than {files[what]}: remove"):
        check_scored_files("p1", kept, files, tmp_path / "p1.json")


@pytest.mark.parametrize("kept", [None, [], {}, {"FLAIR": 3}])
def test_scores_that_keep_no_content_are_not_gone_on_from(kept, files, tmp_path):
    with pytest.raises(InputError, match="was scored with another FLAIR"):
        check_scored_files("p1", kept, files, tmp_path / "p1.json")
