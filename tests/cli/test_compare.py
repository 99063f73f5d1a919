import pytest

from magms_nnunet.cli.compare import main
from tests.evaluation.evaluation_folder import write_evaluation


@pytest.fixture
def folder(tmp_path):
    return str(write_evaluation(tmp_path / "ours", {"T1c": {"a": 0.5}}, ["T1c"]))


def test_it_prints_the_main_table(folder, tmp_path, capsys):
    assert main([f"MAG-MS={folder}", "-o", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "| T1c | MAG-MS | n   |" in printed
    assert "| ●   | 0.500  | 1   |" in printed
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"comparison.md", "comparison.tex"}


def test_a_folder_that_is_not_empty_is_left_alone(folder, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes.txt").write_text("mine")
    assert main([folder, "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("magms_compare: error: -o ")
    assert main([folder, "-o", str(tmp_path / "out"), "--overwrite"]) == 0
    assert (tmp_path / "out/notes.txt").read_text() == "mine"


def test_a_missing_folder_is_one_line(tmp_path, capsys):
    assert main([str(tmp_path / "nowhere"), "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "no folder" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("tolerance", ["-0.1", "1.5", "nan"])
def test_a_tolerance_that_is_none(folder, tmp_path, tolerance, capsys):
    with pytest.raises(SystemExit) as caught:
        main([folder, "-o", str(tmp_path / "out"), f"--tolerance={tolerance}"])
    assert caught.value.code == 2
    assert "--tolerance must be from 0 to 1" in capsys.readouterr().err
