import pytest

from magms_nnunet.cli.demo import main
from magms_nnunet.demo.commands import CommandError
from magms_nnunet.demo.demo import Demo, dice_table
from magms_nnunet.errors import InputError


def test_table_has_means_over_cases_and_over_labels():
    scores = {
        "T1c": {"a": {"edema": 0.0, "core": 1.0}, "b": {"edema": 0.5, "core": 0.5}},
        "all four": {"a": {"edema": 1.0, "core": 1.0}, "b": {"edema": 1.0, "core": 0.5}},
    }
    title, header, *rows = dice_table(scores).splitlines()
    assert "2 test cases" in title
    assert header.split()[-3:] == ["edema", "core", "mean"]
    assert [row.split()[-3:] for row in rows] == [["0.250", "0.750", "0.500"], ["1.000", "0.750", "0.875"]]
    assert [row[: -3 * 8].strip() for row in rows] == ["T1c", "all four"]


def test_a_folder_with_something_else_is_refused_and_left_as_it_is(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("years")
    assert main(["-o", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(tmp_path) in error
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_demo_with_other_settings_is_refused(tmp_path):
    Demo(tmp_path / "demo", epochs=2, seed=0).open()
    Demo(tmp_path / "demo", epochs=2, seed=0).open()
    with pytest.raises(InputError, match=r"epochs 2, seed 0, not version .*, epochs 2, seed 1:"):
        Demo(tmp_path / "demo", epochs=2, seed=1).open()


def test_a_step_that_is_done_is_not_done_again_and_one_that_failed_is(tmp_path):
    demo = Demo(tmp_path / "demo", epochs=2, seed=0)
    demo.open()
    calls = []

    def fail():
        calls.append("failed")
        raise CommandError

    with pytest.raises(CommandError):
        demo.once("step", fail)
    for _ in range(2):
        demo.once("step", lambda: calls.append("done"))
    assert calls == ["failed", "done"]


@pytest.mark.parametrize("flags", [["--epochs", "0"], ["--seed", "-1"]])
def test_bad_flags_end_with_2(flags, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(flags)
    assert flags[1] in capsys.readouterr().err
