"""Patients of a table, with files of any name."""

import pytest

from magms_nnunet.errors import InputError
from magms_nnunet.images.cohort import read_cohort
from magms_nnunet.modalities import Modalities

M = Modalities(("FLAIR", "T1", "T1c", "T2"))


def cohort(folder, text):
    (folder / "patients.csv").write_text(text, encoding="utf-8")
    return read_cohort(folder / "patients.csv", M, ".nii.gz")


def test_a_line_is_a_case_and_an_empty_cell_a_scan_that_was_not_acquired(tmp_path):
    rows = ("case,flair, t1ce ,T2", "p1,a/f.nii.gz,a/c.nii.gz,", "", "p 2,,b.nii,x.mha")
    one, two = cohort(tmp_path, "\ufeff" + "\n".join(rows))  # as a spreadsheet writes it
    assert (one.name, one.files) == ("p1", {0: tmp_path / "a/f.nii.gz", 2: tmp_path / "a/c.nii.gz"})
    assert (two.name, two.files) == ("p 2", {2: tmp_path / "b.nii"})
    assert two.unread == {3: tmp_path / "x.mha"}  # is not overlooked


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("case,FLAIR\n", "has no case"),
        ("name,FLAIR\np1,a.nii.gz\n", "there is no column case"),
        ("case;FLAIR\np1;a.nii.gz\n", "separate columns by commas"),
        ("case\np1\n", "one per modality (FLAIR, T1, T1c, T2)"),
        ("case,FLAIR,PD\np1,a.nii.gz,b.nii.gz\n", "patients.csv: unknown modality 'PD'"),
        ("case,FLAIR,F\np1,a.nii.gz,b.nii.gz\n", "names FLAIR twice"),
        ("case,FLAIR\np1,a.nii.gz\np1,b.nii.gz\n", "line 3: p1 is there twice"),
        ("case,FLAIR\np1,\n", "line 2: p1 has no image"),
        ("case,FLAIR\np1\n", "line 2: 1 cells under 2 columns"),
        ("case,FLAIR\n../p1,a.nii.gz\n", "'../p1' cannot be the name of a case"),
        ("case,FLAIR\np1,../a.nii.gz\n", "'../a.nii.gz' leads out of the table's folder"),
        ("case,FLAIR\np1,/etc/a.nii.gz\n", "'/etc/a.nii.gz' is an absolute path"),
        ('case,FLAIR\np1,"a.nii.gz\n', "is no CSV in UTF-8"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_in_one_line(text, message, tmp_path):
    with pytest.raises(InputError) as caught:
        cohort(tmp_path, text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_cohort(tmp_path / "gone.csv", M, ".nii.gz")
