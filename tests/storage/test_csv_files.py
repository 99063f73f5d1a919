import csv

import pytest

from magms_nnunet.storage.csv_files import as_text, from_text, write_csv

FORMULAS = ["=1+1", "+1", "-rf", "@SUM(A1)", "\t=1", "\r=1", "'=1", "'", "''a"]
TEXTS = ["", "a", "NA", "007", "T1c+F", "a=b", "<script>"]


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_are_marked_as_text(text):
    assert as_text(text) == f"'{text}"


@pytest.mark.parametrize("text", FORMULAS + TEXTS)
def test_every_text_comes_back(text):
    assert from_text(as_text(text)) == text


@pytest.mark.parametrize("value", [-0.5, 0, 1e-9, None, *TEXTS])
def test_numbers_and_other_texts_are_as_they_are(value):
    assert as_text(value) is value


def test_rows_are_written_with_their_columns(tmp_path):
    write_csv(tmp_path / "a.csv", ("case", "dice"), [("=HYPERLINK()", -0.5), ("b", 1)])
    with open(tmp_path / "a.csv", newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["case", "dice"], ["'=HYPERLINK()", "-0.5"], ["b", "1"]]
